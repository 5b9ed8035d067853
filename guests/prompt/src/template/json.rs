//! JSON as Python's `json.dumps` writes it, with its keyword arguments; the filter of the same name in
//! minijinja escapes for HTML.

use super::bound::charge;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// The widest indent: a hostile template asks for gigabytes of spaces.
const WIDEST: usize = 64;

/// The filter `tojson`. As in transformers, characters beyond ASCII stay unless `ensure_ascii` is set.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    arguments: Kwargs,
) -> Result<String, Error> {
    charge(state, value, 0)?;
    let indent = match indent {
        Some(indent) => Some(indent),
        None => arguments.get::<Option<Value>>("indent")?,
    };
    let separators = arguments.get::<Option<Value>>("separators")?;
    let indent = indent_of(indent)?;
    let (comma, colon) = match separators.filter(|value| !value.is_none()) {
        Some(separators) => (
            separators.get_item_by_index(0)?.to_string(),
            separators.get_item_by_index(1)?.to_string(),
        ),
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let mut writer = Writer {
        text: String::new(),
        indent,
        comma,
        colon,
        ascii: arguments.get::<Option<bool>>("ensure_ascii")? == Some(true),
        sorted: arguments.get::<Option<bool>>("sort_keys")? == Some(true),
        depth: 0,
    };
    arguments.assert_all_used()?;
    writer.value(value)?;
    Ok(writer.text)
}

/// Of a number, that many spaces; of a text, the text.
fn indent_of(indent: Option<Value>) -> Result<Option<String>, Error> {
    let Some(indent) = indent.filter(|value| !value.is_none() && !value.is_undefined()) else {
        return Ok(None);
    };
    let text = match indent.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(usize::try_from(indent)?.min(WIDEST)),
    };
    if text.len() > WIDEST {
        return Err(invalid(format!(
            "expected an indent of at most {WIDEST} characters, found {}",
            text.len()
        )));
    }
    Ok(Some(text))
}

struct Writer {
    text: String,
    indent: Option<String>,
    comma: String,
    colon: String,
    ascii: bool,
    sorted: bool,
    depth: usize,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => self.text.push_str("null"),
            ValueKind::Bool => {
                let text = if value.is_true() { "true" } else { "false" };
                self.text.push_str(text);
            }
            ValueKind::Number => self.text.push_str(&value.to_string()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.items('{', '}', keys, |writer, key| {
                    writer.string(&key.to_string());
                    writer.text.push_str(&writer.colon);
                    writer.value(&value.get_item(key)?)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect();
                self.items('[', ']', items, |writer, item| writer.value(item))?;
            }
            _ => self.string(&value.to_string()),
        }
        Ok(())
    }

    fn items(
        &mut self,
        open: char,
        close: char,
        items: Vec<Value>,
        write: impl Fn(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        self.depth += 1;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text.push_str(&self.comma);
            }
            self.line();
            write(self, item)?;
        }
        self.depth -= 1;
        if !items.is_empty() {
            self.line();
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            for _ in 0..self.depth {
                self.text.push_str(indent);
            }
        }
    }

    fn string(&mut self, string: &str) {
        let quoted = serde_json::Value::from(string).to_string();
        if !self.ascii {
            self.text.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            if character.is_ascii() {
                self.text.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                self.text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
