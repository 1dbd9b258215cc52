//! Finds texts that are nearly the same: customers entered twice, places spelt in two ways.
//!
//! `abi` is the door to the platform, `json` reads and writes what passes through it, `trigrams` does the work.

mod abi;
mod json;
mod trigrams;

use json::Value;

const MOST_TEXTS: usize = 50_000;

/// The names that the manifest declares, in the order of `run`.
pub const FUNCTIONS: [&str; 2] = ["find", "similarity"];

/// One call: JSON in, JSON or a sentence out.
pub fn run(function: &str, input: &str) -> Result<String, String> {
    let input = json::read(input)?;
    match function {
        "find" => find(&input),
        "similarity" => similarity(&input),
        other => Err(format!("there is no function {other}")),
    }
}

fn find(input: &Value) -> Result<String, String> {
    let texts = input.field("texts").and_then(Value::texts).ok_or("texts must be a list of texts")?;
    if texts.len() > MOST_TEXTS {
        return Err(format!("{} texts; at most {MOST_TEXTS} are compared", texts.len()));
    }
    let threshold = input.field("threshold").and_then(Value::number).unwrap_or(0.8);
    let limit = input.field("limit").and_then(Value::number).unwrap_or(100.0) as usize;
    let found = trigrams::pairs(&texts, threshold);
    abi::log("info", "compared", &format!("{{\"texts\":{},\"pairs\":{}}}", texts.len(), found.pairs.len()));
    let shown = found.pairs.iter().take(limit).map(|pair| {
        Value::Object(vec![
            ("score".into(), Value::Number((pair.score * 1000.0).round() / 1000.0)),
            ("left".into(), Value::Number(pair.left as f64)),
            ("right".into(), Value::Number(pair.right as f64)),
            ("leftText".into(), Value::Text(texts[pair.left].into())),
            ("rightText".into(), Value::Text(texts[pair.right].into())),
        ])
    });
    let answer = Value::Object(vec![
        ("texts".into(), Value::Number(texts.len() as f64)),
        ("pairs".into(), Value::Number(found.pairs.len() as f64)),
        ("groups".into(), Value::Number(found.groups as f64)),
        ("found".into(), Value::List(shown.collect())),
    ]);
    Ok(json::write(&answer))
}

fn similarity(input: &Value) -> Result<String, String> {
    let text = |name: &str| input.field(name).and_then(Value::text).ok_or(format!("{name} must be a text"));
    let score = trigrams::similarity(text("left")?, text("right")?);
    Ok(json::write(&Value::Number(score)))
}
