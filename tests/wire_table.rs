//! Holds the tables of `wire::amqp` against the specification, in its XML (0-9-1 with RabbitMQ's
//! extensions) and RabbitMQ's own JSON, which has a few methods more.

use std::collections::{BTreeMap, HashMap};

use leveret::wire::amqp::frame;
use leveret::wire::amqp::method::{METHODS, MethodInfo};
use leveret::wire::amqp::reply_code::ReplyCode;
use leveret::wire::amqp::{Properties, Table};

const XML: &str = include_str!("spec/amqp0-9-1.stripped.extended.xml");
const JSON: &str = include_str!("spec/amqp-rabbitmq-0.9.1.json");

/// A method as a specification file has it.
#[derive(Debug)]
struct SpecMethod {
    class: String,
    method: String,
    fields: Vec<SpecField>,
    content: bool,
}

#[derive(Debug)]
struct SpecField {
    name: String,
    domain: String,
    /// Marked as reserved; the two files name these differently.
    reserved: bool,
}

/// Methods by class id and method id.
type Spec = BTreeMap<(u16, u16), SpecMethod>;

#[test]
fn every_method_of_the_xml_is_in_the_table() {
    let spec = xml_methods();
    assert_eq!(spec.len(), 60);
    for (ids, method) in &spec {
        assert_agrees(info(*ids), method);
    }
}

#[test]
fn every_method_of_the_json_is_in_the_table() {
    let xml = xml_methods();
    let mut spec = json_methods();
    assert_eq!(spec.len(), 66);
    for (ids, method) in &mut spec {
        for (index, field) in method.fields.iter_mut().enumerate() {
            let in_xml = xml.get(ids).map(|method| &method.fields[index]);
            field.reserved = in_xml.is_some_and(|field| field.reserved);
        }
        assert_agrees(info(*ids), method);
    }
}

#[test]
fn no_method_of_the_table_is_in_neither_file() {
    let (xml, json) = (xml_methods(), json_methods());
    for info in METHODS {
        let ids = (info.class_id, info.method_id);
        assert!(
            xml.contains_key(&ids) || json.contains_key(&ids),
            "{info:?}"
        );
    }
    assert_eq!(METHODS.len(), json.len());
}

#[test]
fn reply_codes_are_those_of_both_files() {
    let mut constants = xml_constants();
    constants.extend(json_constants());
    for code in ReplyCode::ALL {
        let name = code.name().to_lowercase().replace('_', "-");
        let (value, class) = constants.remove(&name).expect("a constant of the files");
        assert_eq!(u32::from(code.code()), value, "{name}");
        assert_eq!(code.is_hard(), class == "hard-error", "{name}");
    }
    let left = constants.keys().filter(|name| !name.starts_with("frame-"));
    assert_eq!(left.count(), 0, "{constants:?}");
}

#[test]
fn frame_types_and_end_are_those_of_both_files() {
    for constants in [xml_constants(), json_constants()] {
        let value = |name: &str| constants[name].0;
        assert_eq!(u32::from(frame::METHOD), value("frame-method"));
        assert_eq!(u32::from(frame::HEADER), value("frame-header"));
        assert_eq!(u32::from(frame::BODY), value("frame-body"));
        assert_eq!(u32::from(frame::HEARTBEAT), value("frame-heartbeat"));
        assert_eq!(u32::from(frame::END), value("frame-end"));
    }
}

#[test]
fn properties_are_those_of_both_files_in_their_order() {
    let ours = property_table();
    let json: serde_json::Value = serde_json::from_str(JSON).expect("JSON");
    let basic = array(&json["classes"])
        .iter()
        .find(|class| class["name"] == "basic")
        .expect("class basic");
    let from_json: Vec<_> = array(&basic["properties"])
        .iter()
        .map(|property| (text(&property["name"]), text(&property["type"])))
        .collect();
    assert_eq!(ours, from_json);

    let document = roxmltree::Document::parse(XML).expect("XML");
    let class = document
        .descendants()
        .find(|node| node.has_tag_name("class") && node.attribute("name") == Some("basic"))
        .expect("class basic");
    let from_xml: Vec<_> = class
        .children()
        .filter(|node| node.has_tag_name("field"))
        .map(|node| (attribute(node, "name"), attribute(node, "domain")))
        .map(|(name, domain)| match name.as_str() {
            "reserved" => ("cluster-id".to_string(), domain),
            _ => (name, domain),
        })
        .collect();
    assert_eq!(ours, from_xml);
}

/// Name and type of each property, read off the blocks that encode one property each.
fn property_table() -> Vec<(String, String)> {
    const STRING: Option<&[u8]> = Some(b"");
    let none = Properties::default();
    #[rustfmt::skip]
    let mut single = vec![
        ("content-type", Properties { content_type: STRING, ..none }),
        ("content-encoding", Properties { content_encoding: STRING, ..none }),
        ("headers", Properties { headers: Some(Table::EMPTY), ..none }),
        ("delivery-mode", Properties { delivery_mode: Some(0), ..none }),
        ("priority", Properties { priority: Some(0), ..none }),
        ("correlation-id", Properties { correlation_id: STRING, ..none }),
        ("reply-to", Properties { reply_to: STRING, ..none }),
        ("expiration", Properties { expiration: STRING, ..none }),
        ("message-id", Properties { message_id: STRING, ..none }),
        ("timestamp", Properties { timestamp: Some(0), ..none }),
        ("type", Properties { kind: STRING, ..none }),
        ("user-id", Properties { user_id: STRING, ..none }),
        ("app-id", Properties { app_id: STRING, ..none }),
        ("cluster-id", Properties { cluster_id: STRING, ..none }),
    ];
    single.sort_by_key(|(_, properties)| std::cmp::Reverse(Properties::flags(&block(properties))));
    single
        .into_iter()
        .map(|(name, properties)| {
            let domain = match (name, block(&properties).len() - 2) {
                ("delivery-mode" | "priority", 1) => "octet",
                (_, 1) => "shortstr",
                (_, 4) => "table",
                (_, 8) => "timestamp",
                (_, size) => panic!("{name} takes {size} bytes"),
            };
            (name.to_string(), domain.to_string())
        })
        .collect()
}

fn block(properties: &Properties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    properties.encode(&mut out);
    out
}

fn info(ids: (u16, u16)) -> &'static MethodInfo {
    let mut found = METHODS
        .iter()
        .filter(|info| (info.class_id, info.method_id) == ids);
    let info = found
        .next()
        .unwrap_or_else(|| panic!("no method {ids:?} in the table"));
    assert!(found.next().is_none(), "{ids:?} is twice in the table");
    info
}

fn assert_agrees(info: &MethodInfo, spec: &SpecMethod) {
    assert_eq!(info.class, spec.class, "{spec:?}");
    assert_eq!(info.method, spec.method, "{spec:?}");
    assert_eq!(info.content, spec.content, "{spec:?}");
    assert_eq!(info.fields.len(), spec.fields.len(), "{spec:?}");
    for (index, (ours, theirs)) in info.fields.iter().zip(&spec.fields).enumerate() {
        assert_eq!(ours.domain, theirs.domain, "{spec:?}");
        let expected = match (theirs.reserved, index, ours.domain) {
            (true, 0, "short") => "ticket".to_string(),
            (true, _, _) => {
                assert!(ours.name.starts_with("reserved_"), "{spec:?}");
                continue;
            }
            (false, _, _) => our_name(&theirs.name),
        };
        assert_eq!(ours.name, expected, "{spec:?}");
    }
}

fn our_name(name: &str) -> String {
    match name {
        "type" => "kind".to_string(),
        "nowait" => "no_wait".to_string(),
        other => other.replace('-', "_"),
    }
}

fn xml_methods() -> Spec {
    let document = roxmltree::Document::parse(XML).expect("XML");
    let domains: HashMap<_, _> = document
        .descendants()
        .filter(|node| node.has_tag_name("domain"))
        .map(|node| (attribute(node, "name"), attribute(node, "type")))
        .collect();
    let mut spec = Spec::new();
    for node in document.descendants().filter(|n| n.has_tag_name("method")) {
        let class = node.parent().expect("methods are inside classes");
        let fields = node
            .children()
            .filter(|child| child.has_tag_name("field"))
            .map(|field| SpecField {
                name: attribute(field, "name"),
                domain: match field.attribute("type") {
                    Some(domain) => domain.to_string(),
                    None => domains[field.attribute("domain").expect("a domain")].clone(),
                },
                reserved: field.attribute("reserved") == Some("1"),
            })
            .collect();
        let method = SpecMethod {
            class: attribute(class, "name"),
            method: attribute(node, "name"),
            fields,
            content: node.attribute("content") == Some("1"),
        };
        let ids = (number(class, "index"), number(node, "index"));
        assert!(spec.insert(ids, method).is_none());
    }
    spec
}

fn json_methods() -> Spec {
    let json: serde_json::Value = serde_json::from_str(JSON).expect("JSON");
    let domains: HashMap<_, _> = array(&json["domains"])
        .iter()
        .map(|domain| (text(&domain[0]), text(&domain[1])))
        .collect();
    let mut spec = Spec::new();
    for class in array(&json["classes"]) {
        for method in array(&class["methods"]) {
            let fields = array(&method["arguments"])
                .iter()
                .map(|argument| SpecField {
                    name: text(&argument["name"]),
                    domain: match argument["type"].as_str() {
                        Some(domain) => domain.to_string(),
                        None => domains[&text(&argument["domain"])].clone(),
                    },
                    reserved: false,
                })
                .collect();
            let described = SpecMethod {
                class: text(&class["name"]),
                method: text(&method["name"]),
                fields,
                content: method["content"].as_bool().unwrap_or(false),
            };
            let ids = (id(&class["id"]), id(&method["id"]));
            assert!(spec.insert(ids, described).is_none());
        }
    }
    spec
}

/// Value and class (`soft-error`, `hard-error` or nothing) of each constant.
fn xml_constants() -> BTreeMap<String, (u32, String)> {
    let document = roxmltree::Document::parse(XML).expect("XML");
    document
        .descendants()
        .filter(|node| node.has_tag_name("constant"))
        .map(|node| {
            let value = attribute(node, "value").parse().expect("a number");
            let class = node.attribute("class").unwrap_or_default();
            (attribute(node, "name"), (value, class.to_string()))
        })
        .collect()
}

fn json_constants() -> BTreeMap<String, (u32, String)> {
    let json: serde_json::Value = serde_json::from_str(JSON).expect("JSON");
    array(&json["constants"])
        .iter()
        .map(|constant| {
            let value = constant["value"].as_u64().expect("a number");
            let class = constant["class"].as_str().unwrap_or_default();
            let value = u32::try_from(value).expect("a small number");
            (
                text(&constant["name"]).to_lowercase(),
                (value, class.to_string()),
            )
        })
        .collect()
}

fn attribute(node: roxmltree::Node<'_, '_>, name: &str) -> String {
    node.attribute(name)
        .unwrap_or_else(|| panic!("{node:?} has no {name}"))
        .to_string()
}

fn number(node: roxmltree::Node<'_, '_>, name: &str) -> u16 {
    attribute(node, name).parse().expect("a number")
}

fn array(json: &serde_json::Value) -> &[serde_json::Value] {
    json.as_array().expect("an array")
}

fn text(json: &serde_json::Value) -> String {
    json.as_str().expect("a string").to_string()
}

fn id(json: &serde_json::Value) -> u16 {
    let id = json.as_u64().expect("a number");
    u16::try_from(id).expect("ids have 16 bits")
}
