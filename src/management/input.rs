//! The JSON object in a request's body, read as RabbitMQ reads it: numbers and truth values may be given
//! as text, and what is wrong is said in its words.

use serde_json::{Map, Value, json};

use super::call::Call;
use super::refusal::Refusal;

/// A request's body.
#[derive(Clone, Debug, Default)]
pub struct Input(Map<String, Value>);

impl Input {
    /// # Errors
    /// It is no JSON object. None at all is an empty one.
    pub fn of(call: &Call<'_>) -> Result<Input, Refusal> {
        match call.request.body.trim_ascii() {
            b"" => Ok(Input::default()),
            text => match serde_json::from_slice(text) {
                Ok(object) => Ok(Input(object)),
                Err(_) => Err(Refusal::bad("not_json")),
            },
        }
    }

    /// # Errors
    /// Some of them are not there.
    pub fn require(&self, names: &[&str]) -> Result<(), Refusal> {
        let missing = names.iter().filter(|name| self.get(name).is_none());
        let missing: Vec<_> = missing
            .map(|name| format!("{{key_missing,{name}}}"))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Refusal::bad(format!("[{}]", missing.join(",\n ")))),
        }
    }

    /// What is there and is not `null`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// # Errors
    /// It is no text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::said(json!(["not_string", name]))),
        }
    }

    /// # Errors
    /// It is not there, or no text.
    pub fn required_text(&self, name: &str) -> Result<&str, Refusal> {
        self.require(&[name])?;
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// # Errors
    /// It is neither true nor false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(Refusal::said(json!(["not_boolean", other]))),
        }
    }

    /// # Errors
    /// It is no whole number.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::said(json!(["not_integer", value]))),
        }
    }

    /// An object; RabbitMQ's own empty ones often come as an empty list.
    ///
    /// # Errors
    /// It is no object.
    pub fn object(&self, name: &str) -> Result<Map<String, Value>, Refusal> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
            Some(_) => Err(Refusal::said(json!(["not_an_object", name]))),
        }
    }

    /// Texts in a list, or in one text with commas between them (RabbitMQ: tags).
    ///
    /// # Errors
    /// It is neither.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let texts = match value {
            Value::String(text) => text.split(',').map(|t| Some(t.trim().to_owned())).collect(),
            Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let texts: Option<Vec<String>> = texts;
        match texts {
            Some(texts) => Ok(Some(texts.into_iter().filter(|t| !t.is_empty()).collect())),
            None => Err(Refusal::said(json!(["not_a_list", name]))),
        }
    }
}

impl From<Map<String, Value>> for Input {
    fn from(object: Map<String, Value>) -> Self {
        Input(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(value: Value) -> Input {
        Input(value.as_object().unwrap().clone())
    }

    #[test]
    fn texts_stand_for_flags_and_numbers() {
        let input = input(json!({"a": "true", "b": "5", "c": "x", "d": null, "e": "m, n,,"}));
        assert_eq!(input.flag("a"), Ok(Some(true)));
        assert_eq!(input.integer("b"), Ok(Some(5)));
        assert_eq!(input.flag("d"), Ok(None));
        let tags = input.texts("e").unwrap().unwrap();
        assert_eq!(tags, ["m", "n"]);
        let refused = Refusal::said(json!(["not_boolean", "x"]));
        assert_eq!(input.flag("c"), Err(refused));
    }

    #[test]
    fn missing_members_are_named_all_at_once() {
        let refused = input(json!({"b": 1})).require(&["a", "b", "c"]);
        let text = "[{key_missing,a},\n {key_missing,c}]";
        assert_eq!(refused, Err(Refusal::bad(text)));
    }
}
