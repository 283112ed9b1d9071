//! What a command has to say, and the forms it is said in.

mod csv;
mod json;
mod pretty_table;
mod table;
mod term;

use serde_json::{Map, Value};

pub use table::cell;

/// The answer of a command.
#[derive(Debug, PartialEq)]
pub enum Output {
    Nothing,
    /// A line, or several.
    Text(String),
    Rows(Rows),
    /// Told to people in one way and to programs in another.
    Report {
        text: String,
        value: Value,
    },
    /// Goes out as it is, whatever the form.
    Raw(Vec<u8>),
}

#[derive(Debug, PartialEq)]
pub struct Rows {
    pub columns: Vec<Column>,
    /// Of as many values as there are columns.
    pub rows: Vec<Vec<Value>>,
    /// Without rows there is nothing to see; other lists then show an empty line, as RabbitMQ's.
    pub is_silent_when_empty: bool,
    pub has_header: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub shape: Shape,
}

/// How a value is written for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    #[default]
    Plain,
    /// Names in brackets: `[a, b]`.
    Names,
    /// As an Erlang term: `[{"x-max-length",5}]`.
    Term,
    /// `AMQP 0-9-1` as `{0,9,1}`.
    Protocol,
}

/// RabbitMQ: `--formatter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Table,
    PrettyTable,
    Json,
    Csv,
    Erlang,
}

impl Form {
    pub fn named(name: &str) -> Option<Form> {
        Some(match name {
            "table" | "string" | "string_per_line" | "report" | "plugins" => Form::Table,
            "pretty_table" => Form::PrettyTable,
            "json" | "json_stream" => Form::Json,
            "csv" => Form::Csv,
            "erlang" => Form::Erlang,
            _ => return None,
        })
    }

    /// Whether a program reads it: then it has to stand alone, without a word before it.
    pub fn is_for_programs(self) -> bool {
        matches!(self, Form::Json | Form::Csv)
    }
}

impl Output {
    pub fn text(text: impl Into<String>) -> Output {
        Output::Text(text.into())
    }

    /// All that goes to standard output.
    pub fn render(&self, form: Form, with_header: bool) -> Vec<u8> {
        let text = match (self, form) {
            (Output::Raw(bytes), _) => return bytes.clone(),
            (Output::Rows(rows), Form::Table) => table::table(rows, with_header),
            (Output::Rows(rows), Form::PrettyTable) => pretty_table::pretty_table(rows),
            (Output::Rows(rows), Form::Json) => json::rows(rows),
            (Output::Rows(rows), Form::Csv) => csv::csv(rows, with_header),
            (Output::Rows(rows), Form::Erlang) => format!("{}\n", term::rows(rows)),
            (Output::Nothing, Form::Json) => format!("{}\n", result(None)),
            (Output::Text(text), Form::Json) => format!("{}\n", result(Some(text))),
            (Output::Report { value, .. }, Form::Json) => format!("{value}\n"),
            (Output::Report { value, .. }, Form::Erlang) => format!("{}\n", term::term(value)),
            (Output::Nothing, _) => String::new(),
            (Output::Text(text) | Output::Report { text, .. }, _) => match text.ends_with('\n') {
                true => text.clone(),
                false => format!("{text}\n"),
            },
        };
        text.into_bytes()
    }
}

impl Rows {
    pub fn of(columns: Vec<Column>, rows: Vec<Vec<Value>>) -> Rows {
        Rows {
            columns,
            rows,
            is_silent_when_empty: false,
            has_header: true,
        }
    }
}

fn result(message: Option<&str>) -> Value {
    let mut object = Map::new();
    if let Some(message) = message {
        object.insert("message".to_owned(), message.trim_end().into());
    }
    object.insert("result".to_owned(), "ok".into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn users() -> Output {
        let columns = vec![
            Column {
                name: "user",
                shape: Shape::Plain,
            },
            Column {
                name: "tags",
                shape: Shape::Names,
            },
        ];
        let rows = vec![
            vec![json!("u1"), json!([])],
            vec![json!("g \"x\""), json!(["administrator", "a"])],
        ];
        Output::Rows(Rows::of(columns, rows))
    }

    #[track_caller]
    fn shows(output: &Output, form: Form, with_header: bool, expected: &str) {
        let shown = output.render(form, with_header);
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn tables_are_as_rabbitmqs() {
        shows(
            &users(),
            Form::Table,
            true,
            "user\ttags\nu1\t[]\ng \"x\"\t[administrator, a]\n",
        );
        shows(
            &users(),
            Form::Table,
            false,
            "u1\t[]\ng \"x\"\t[administrator, a]\n",
        );
    }

    #[test]
    fn json_keeps_the_columns_in_order() {
        shows(
            &users(),
            Form::Json,
            true,
            "[\n{\"user\":\"u1\",\"tags\":[]}\n,{\"user\":\"g \\\"x\\\"\",\"tags\":[\"administrator\",\"a\"]}\n]\n",
        );
    }

    #[test]
    fn csv_quotes_everything() {
        shows(
            &users(),
            Form::Csv,
            true,
            "\"user\",\"tags\"\n\"u1\",\"[]\"\n\"g \"\"x\"\"\",\"[administrator, a]\"\n",
        );
    }

    #[test]
    fn pretty_tables_have_borders() {
        shows(
            &users(),
            Form::PrettyTable,
            true,
            "┌───────┬────────────────────┐\n\
             │ user  │ tags               │\n\
             ├───────┼────────────────────┤\n\
             │ u1    │ []                 │\n\
             ├───────┼────────────────────┤\n\
             │ g \"x\" │ [administrator, a] │\n\
             └───────┴────────────────────┘\n",
        );
    }

    #[test]
    fn erlang_terms_are_lists_of_pairs() {
        shows(
            &users(),
            Form::Erlang,
            true,
            "[[{user,<<\"u1\">>},{tags,[]}],[{user,<<\"g \\\"x\\\"\">>},{tags,[administrator,a]}]]\n",
        );
    }

    #[test]
    fn empty_lists_are_silent_or_an_empty_line() {
        let Output::Rows(mut rows) = users() else {
            unreachable!("they are rows");
        };
        rows.rows.clear();
        rows.is_silent_when_empty = true;
        let silent = Output::Rows(rows);
        shows(&silent, Form::Table, true, "");
        shows(&silent, Form::Json, true, "[\n]\n");
        let Output::Rows(mut rows) = silent else {
            unreachable!("they are rows");
        };
        rows.is_silent_when_empty = false;
        shows(&Output::Rows(rows), Form::Table, true, "\n");
    }

    #[test]
    fn programs_are_told_of_success() {
        shows(&Output::Nothing, Form::Json, true, "{\"result\":\"ok\"}\n");
        shows(&Output::Nothing, Form::Table, true, "");
        shows(
            &Output::text("Done."),
            Form::Json,
            true,
            "{\"message\":\"Done.\",\"result\":\"ok\"}\n",
        );
    }
}
