//! The world `component-plugin` of sdk/plugin.wit as the component model's canonical ABI lays it out, by hand: two
//! exports, one import, and the allocator through which texts come in. Nothing here is particular to this plugin.

use std::alloc::{alloc, realloc, Layout};

#[link(wasm_import_module = "plugyard:plugin/host@1.0.0")]
extern "C" {
    #[link_name = "log"]
    fn host_log(level: *const u8, l: usize, message: *const u8, m: usize, fields: *const u8, f: usize);
}

/// A log line; `fields` is the JSON of an object.
pub fn log(level: &str, message: &str, fields: &str) {
    unsafe { host_log(level.as_ptr(), level.len(), message.as_ptr(), message.len(), fields.as_ptr(), fields.len()) }
}

/// A list or a text: where it lies and how long it is.
#[repr(C)]
pub struct Span {
    at: *const u8,
    length: usize,
}

/// `result<string, string>`.
#[repr(C)]
pub struct Answer {
    failed: u8,
    text: Span,
}

fn leak(text: String) -> Span {
    let text = text.into_bytes().into_boxed_slice();
    let length = text.len();
    Span { at: Box::into_raw(text) as *const u8, length }
}

unsafe fn owned(at: *mut u8, length: usize) -> String {
    String::from_utf8_unchecked(Box::from_raw(std::ptr::slice_from_raw_parts_mut(at, length)).into_vec())
}

/// Where the platform puts the arguments of a call.
#[no_mangle]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    if size == 0 {
        return align as *mut u8;
    }
    let layout = |size| Layout::from_size_align_unchecked(size, align);
    if old_size == 0 { alloc(layout(size)) } else { realloc(old, layout(old_size), size) }
}

#[no_mangle]
pub extern "C" fn functions() -> *const Span {
    std::panic::set_hook(Box::new(|panic| log("error", &panic.to_string(), "{}")));
    let names = crate::FUNCTIONS.map(|name| Span { at: name.as_ptr(), length: name.len() });
    let list = Span { at: Box::leak(Box::new(names)).as_ptr() as *const u8, length: crate::FUNCTIONS.len() };
    Box::leak(Box::new(list))
}

#[no_mangle]
pub unsafe extern "C" fn invoke(
    function: *mut u8,
    function_length: usize,
    input: *mut u8,
    input_length: usize,
    context: *mut u8,
    context_length: usize,
) -> *mut Answer {
    let (function, input) = (owned(function, function_length), owned(input, input_length));
    drop(owned(context, context_length));
    let (failed, text) = match crate::run(&function, &input) {
        Ok(output) => (0, output),
        Err(sentence) => (1, sentence),
    };
    Box::into_raw(Box::new(Answer { failed, text: leak(text) }))
}

/// Called when the platform has read the answer.
#[no_mangle]
pub unsafe extern "C" fn cabi_post_invoke(answer: *mut Answer) {
    let answer = Box::from_raw(answer);
    drop(owned(answer.text.at as *mut u8, answer.text.length));
}
