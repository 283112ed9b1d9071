//! JSON and the values of field tables: arguments, headers, definitions of policies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value as Json, json};

use super::Refusal;
use crate::wire::amqp::field_table::{ArrayBuilder, OwnedTable, Table, TableBuilder, Value};

/// A field table of an object: whole numbers become longs, others doubles, `null` void.
///
/// # Errors
/// What a field table cannot hold: long names, large numbers, deep nesting.
pub fn table_of(object: &Map<String, Json>) -> Result<OwnedTable, Refusal> {
    Ok(builder_of(object, DEPTH_MAX)?.finish())
}

/// As [`table_of`], of arguments and headers, where RabbitMQ takes no `null`.
pub fn arguments_of(object: &Map<String, Json>) -> Result<OwnedTable, Refusal> {
    if object.values().any(has_null) {
        return Err(Refusal::bad("null_not_allowed"));
    }
    table_of(object)
}

/// Calls `act` with the value as field tables have it.
///
/// # Errors
/// As [`table_of`].
pub fn with_value<T>(json: &Json, act: impl FnOnce(Value<'_>) -> T) -> Result<T, Refusal> {
    let mut holder = TableBuilder::new();
    put(&mut holder, "", json, DEPTH_MAX)?;
    let value = holder.view().iter().next();
    Ok(act(value.map_or(Value::Void, |(_, value)| value)))
}

/// An object of a field table.
pub fn json_of_table(table: Table<'_>) -> Json {
    let members = table
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), json_of(value)));
    Json::Object(members.collect())
}

/// A value as RabbitMQ shows it in JSON.
pub fn json_of(value: Value<'_>) -> Json {
    if let Some(number) = value.as_integer() {
        return json!(number);
    }
    if let Some(number) = value.as_float() {
        return Number::from_f64(number).map_or(Json::Null, Json::Number);
    }
    match value {
        Value::Table(table) => json_of_table(table),
        Value::Array(array) => Json::Array(array.iter().map(json_of).collect()),
        Value::Timestamp(seconds) => json!(seconds),
        Value::Decimal { scale, value } => {
            json!(f64::from(value) / 10f64.powi(i32::from(scale)))
        }
        Value::LongString(bytes) => text_of(bytes),
        Value::Binary(bytes) => Json::String(BASE64.encode(bytes)),
        other => other.as_bool().map_or(Json::Null, Json::Bool),
    }
}

/// Text as it is; what is no text as base64, which at least says what it was.
fn text_of(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::String(text.to_owned()),
        Err(_) => Json::String(BASE64.encode(bytes)),
    }
}

fn builder_of(object: &Map<String, Json>, depth: usize) -> Result<TableBuilder, Refusal> {
    let mut table = TableBuilder::new();
    for (name, value) in object {
        if name.len() > usize::from(u8::MAX) {
            return Err(Refusal::bad("a name has at most 255 bytes"));
        }
        put(&mut table, name, value, depth)?;
    }
    Ok(table)
}

fn put(table: &mut TableBuilder, name: &str, json: &Json, depth: usize) -> Result<(), Refusal> {
    match json {
        Json::Object(object) => {
            table.put_table(name, &builder_of(object, deeper(depth)?)?);
        }
        Json::Array(values) => {
            table.put_array(name, &array_of(values, deeper(depth)?)?);
        }
        plain => {
            table.put(name, scalar(plain)?);
        }
    }
    Ok(())
}

fn array_of(values: &[Json], depth: usize) -> Result<ArrayBuilder, Refusal> {
    let mut array = ArrayBuilder::new();
    for value in values {
        match value {
            Json::Object(object) => {
                array.push_table(&builder_of(object, deeper(depth)?)?);
            }
            Json::Array(values) => {
                array.push_array(&array_of(values, deeper(depth)?)?);
            }
            plain => {
                array.push(scalar(plain)?);
            }
        }
    }
    Ok(array)
}

fn scalar(json: &Json) -> Result<Value<'_>, Refusal> {
    Ok(match json {
        Json::Bool(flag) => Value::bool(*flag),
        Json::String(text) => Value::string(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Long(number),
            (None, Some(float)) if number.is_f64() => Value::double(float),
            _ => return Err(Refusal::bad(format!("{number} has more than 64 bits"))),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Void,
    })
}

fn deeper(depth: usize) -> Result<usize, Refusal> {
    let deeper = depth.checked_sub(1);
    deeper.ok_or_else(|| Refusal::bad("objects are nested too deep"))
}

fn has_null(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(values) => values.iter().any(has_null),
        Json::Object(object) => object.values().any(has_null),
        _ => false,
    }
}

/// Of objects and lists in one another; well under what field tables allow.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_table_comes_out_again() {
        let json = json!({
            "a": 1, "b": -1.5, "c": "text", "d": [1, {"e": null}, []], "f": true, "g": {"h": {}},
        });
        let table = table_of(json.as_object().unwrap()).unwrap();
        assert_eq!(table.view().get("a"), Some(Value::Long(1)));
        assert_eq!(json_of_table(table.view()), json);
    }

    #[test]
    fn what_no_table_can_hold_is_refused() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        for json in [
            json!({"a": u64::MAX}),
            json!({"a": deep}),
            json!({"x".repeat(256): 1}),
        ] {
            assert!(table_of(json.as_object().unwrap()).is_err());
        }
        let null = json!({"a": [{"b": null}]});
        assert!(arguments_of(null.as_object().unwrap()).is_err());
    }
}
