//! Lists, as RabbitMQ's API shows them: `name` and `use_regex` filter, `sort` and `sort_reverse` order,
//! `page` and `page_size` cut, `columns` leave out.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::refusal::json_response;
use super::{Answer, Refusal};

/// Answers with a list. Items are shown in the order given unless the request says otherwise.
///
/// # Errors
/// A page that is not there, or an expression that is none.
pub fn list<T: Serialize>(call: &Call<'_>, items: Vec<T>) -> Answer {
    let wanted = Wanted::of(call)?;
    if wanted.is_everything() {
        return Ok(json_response(200, &items));
    }
    let items = items.iter().map(serde_json::to_value);
    let items: Result<Vec<Value>, _> = items.collect();
    let items = items.map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(json_response(200, &wanted.apply(items)?))
}

/// As [`list`], of items in the order of their names. Where one page of them is asked for, only those on it
/// are worked out.
///
/// # Errors
/// As [`list`].
pub fn list_shown<S, T: Serialize>(
    call: &Call<'_>,
    mut items: Vec<S>,
    name: impl Fn(&S) -> &str,
    show: impl FnMut(S) -> T,
) -> Answer {
    let wanted = Wanted::of(call)?;
    let is_in_order = wanted.sort.as_deref().is_none_or(|by| by == "name") && !wanted.reverse;
    let Some(page) = wanted.page.filter(|_| is_in_order) else {
        return list(call, items.into_iter().map(show).collect());
    };
    let total = items.len();
    if let Some(filter) = &wanted.name {
        items.retain(|item| filter.fits(name(item)));
    }
    if wanted.sort.is_some() {
        items.sort_by(|a, b| name(a).cmp(name(b)));
    }
    let filtered = items.len();
    let first = first_of(page, filtered)?;
    let some = items.into_iter().skip(first).take(page.1).map(show);
    let shown: Result<Vec<Value>, _> = some.map(serde_json::to_value).collect();
    let shown = shown.map_err(|error| Refusal::bad(error.to_string()))?;
    let shown = wanted.shown(&shown);
    Ok(json_response(200, &paged(page, total, filtered, shown)))
}

/// Answers with one object, of which only the columns that were asked for.
///
/// # Errors
/// None but for the request's own.
pub fn one<T: Serialize>(call: &Call<'_>, item: &T) -> Answer {
    let wanted = Wanted::of(call)?;
    if wanted.columns.is_empty() {
        return Ok(json_response(200, item));
    }
    let item = serde_json::to_value(item).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(json_response(200, &columns(&item, &wanted.columns)))
}

struct Wanted {
    page: Option<(usize, usize)>,
    name: Option<Name>,
    sort: Option<String>,
    reverse: bool,
    columns: Vec<String>,
}

enum Name {
    Containing(String),
    Matching(regex::bytes::Regex),
}

impl Wanted {
    fn of(call: &Call<'_>) -> Result<Wanted, Refusal> {
        let given = |name| call.request.parameter(name).filter(|text| !text.is_empty());
        let number = |name, least: usize, most: usize| match given(name) {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => Err(Refusal::bad(format!(
                    "{name} must be between {least} and {most}"
                ))),
            },
        };
        let page = match (
            number("page", 1, usize::MAX)?,
            number("page_size", 1, PAGE_MAX)?,
        ) {
            (None, None) => None,
            (page, size) => Some((page.unwrap_or(1), size.unwrap_or(PAGE_DEFAULT))),
        };
        let name = match given("name") {
            Some(text) if given("use_regex") == Some("true") => {
                Some(Name::Matching(expression(text)?))
            }
            Some(text) => Some(Name::Containing(text.to_lowercase())),
            None => None,
        };
        let columns = given("columns").unwrap_or_default().split(',');
        Ok(Wanted {
            page,
            // RabbitMQ looks at names only where there are pages.
            name: name.filter(|_| page.is_some()),
            sort: given("sort").map(str::to_owned),
            reverse: given("sort_reverse") == Some("true"),
            columns: columns
                .filter(|c| !c.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    fn is_everything(&self) -> bool {
        self.page.is_none() && self.sort.is_none() && !self.reverse && self.columns.is_empty()
    }

    fn apply(&self, mut items: Vec<Value>) -> Result<Value, Refusal> {
        let total = items.len();
        if let Some(name) = &self.name {
            items.retain(|item| name.fits(name_of(item)));
        }
        if let Some(path) = &self.sort {
            items.sort_by(|a, b| compare(at(a, path), at(b, path)));
        }
        if self.reverse {
            items.reverse();
        }
        let Some(page) = self.page else {
            return Ok(Value::Array(self.shown(&items)));
        };
        let filtered = items.len();
        let first = first_of(page, filtered)?;
        let items = self.shown(&items[first..filtered.min(first + page.1)]);
        Ok(paged(page, total, filtered, items))
    }

    fn shown(&self, items: &[Value]) -> Vec<Value> {
        match self.columns.is_empty() {
            true => items.to_vec(),
            false => items
                .iter()
                .map(|item| columns(item, &self.columns))
                .collect(),
        }
    }
}

/// Where a page begins.
///
/// # Errors
/// It is beyond the last.
fn first_of((page, size): (usize, usize), filtered: usize) -> Result<usize, Refusal> {
    match page <= page_count(size, filtered) {
        true => Ok((page - 1) * size),
        false => Err(Refusal::bad(format!(
            "page out of range, page: {page} page size: {size}, len: {filtered}"
        ))),
    }
}

fn page_count(size: usize, filtered: usize) -> usize {
    filtered.div_ceil(size).max(1)
}

fn paged((page, size): (usize, usize), total: usize, filtered: usize, items: Vec<Value>) -> Value {
    json!({
        "filtered_count": filtered,
        "item_count": items.len(),
        "items": items,
        "page": page,
        "page_count": page_count(size, filtered),
        "page_size": size,
        "total_count": total,
    })
}

fn name_of(item: &Value) -> &str {
    item.get("name").and_then(Value::as_str).unwrap_or_default()
}

impl Name {
    fn fits(&self, name: &str) -> bool {
        match self {
            Name::Containing(text) => name.to_lowercase().contains(text),
            Name::Matching(expression) => expression.is_match(name.as_bytes()),
        }
    }
}

/// Only the named members; `a.b` is a member of a member.
fn columns(item: &Value, names: &[String]) -> Value {
    let mut shown = Map::new();
    for name in names {
        if let Some(value) = at_exactly(item, name) {
            put(&mut shown, name, value.clone());
        }
    }
    Value::Object(shown)
}

fn put(into: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(into.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = into.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn at_exactly<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(item, |value, name| value.get(name))
}

fn at<'a>(item: &'a Value, path: &str) -> &'a Value {
    at_exactly(item, path).unwrap_or(&Value::Null)
}

/// What is not there comes first, then numbers, then texts.
fn compare(a: &Value, b: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a.total_cmp(&b)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn expression(text: &str) -> Result<regex::bytes::Regex, Refusal> {
    let mut builder = regex::bytes::RegexBuilder::new(text);
    // Names are matched as they are; without Unicode tables `.` is a byte, which is as good here, and which only expressions for bytes allow.
    builder.unicode(false).size_limit(EXPRESSION_BYTES_MAX);
    builder
        .build()
        .map_err(|error| Refusal::bad(format!("invalid regular expression: {error}")))
}

/// RabbitMQ's bounds.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 500;

const EXPRESSION_BYTES_MAX: usize = 1 << 20;
