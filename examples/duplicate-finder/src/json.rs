//! As much of JSON (RFC 8259) as a plugin needs. What comes in was checked by the platform, so errors here are brief.

pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub fn texts(&self) -> Option<Vec<&str>> {
        if let Value::List(items) = self { items.iter().map(Value::text).collect() } else { None }
    }
}

pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    reader.blanks();
    if reader.at == text.len() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self) -> String {
        format!("the input is no JSON at byte {}", self.at)
    }

    fn next(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while matches!(self.next(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.text[self.at..].starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn value(&mut self) -> Result<Value, String> {
        self.blanks();
        match self.next() {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => Ok(Value::Text(self.string()?)),
            b't' if self.take("true") => Ok(Value::Bool(true)),
            b'f' if self.take("false") => Ok(Value::Bool(false)),
            b'n' if self.take("null") => Ok(Value::Null),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let begin = self.at;
        while matches!(self.next(), b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        self.text[begin..self.at].parse().map(Value::Number).map_err(|_| self.wrong())
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        self.at += 1;
        self.blanks();
        while !self.take("]") {
            items.push(self.value()?);
            self.behind_item(b']')?;
        }
        Ok(Value::List(items))
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut fields = Vec::new();
        self.at += 1;
        self.blanks();
        while !self.take("}") {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            if !self.take(":") {
                return Err(self.wrong());
            }
            fields.push((name, self.value()?));
            self.behind_item(b'}')?;
        }
        Ok(Value::Object(fields))
    }

    fn behind_item(&mut self, end: u8) -> Result<(), String> {
        self.blanks();
        if self.take(",") || self.next() == end { Ok(()) } else { Err(self.wrong()) }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take("\"") {
            return Err(self.wrong());
        }
        let mut found = String::new();
        loop {
            let rest = &self.text[self.at..];
            let stop = rest.find(|c| c == '"' || c == '\\').ok_or_else(|| self.wrong())?;
            found.push_str(&rest[..stop]);
            self.at += stop + 1;
            if rest.as_bytes()[stop] == b'"' {
                return Ok(found);
            }
            let escape = self.next();
            self.at += 1;
            found.push(match escape {
                b'n' => '\n',
                b't' => '\t',
                b'r' => '\r',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'u' => self.unicode()?,
                other => other as char,
            });
        }
    }

    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.take("\\u") {
            let second = self.hex()?;
            let whole = 0x10000 + ((first - 0xD800) << 10) + (second.wrapping_sub(0xDC00) & 0x3FF);
            return Ok(char::from_u32(whole).unwrap_or('\u{FFFD}'));
        }
        Ok(char::from_u32(first).unwrap_or('\u{FFFD}'))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.wrong())?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.wrong())
    }
}

pub fn write(value: &Value) -> String {
    let mut out = String::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Text(text) => put_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_text(name, out);
                out.push(':');
                put(value, out);
            }
            out.push('}');
        }
    }
}

fn put_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}
