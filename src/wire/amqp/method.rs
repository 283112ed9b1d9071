//! Methods: what peers say to each other (AMQP 0-9-1 §4.2.4).
//!
//! A struct per method, in a module per class, and the enum [`Method`] over all of them. All of it
//! is generated from one table, in `method_table.rs`, by the macro here; a description of the same
//! table, [`METHODS`], lets a test hold it against the specification's own files.

use super::super::Malformed;
use super::super::reader::Reader;
use super::super::writer::Writer;

pub use super::method_table::{
    METHODS, Method, access, basic, channel, confirm, connection, exchange, queue, tx,
};

/// What can be sent in a method frame: every method struct, and [`Method`].
pub trait EncodeMethod {
    /// Class id and method id.
    fn ids(&self) -> (u16, u16);

    /// Writes the arguments, without the ids.
    fn encode_arguments(&self, writer: &mut Writer<'_>);
}

/// A method as the specification describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    pub class_id: u16,
    /// As in `queue`.
    pub class: &'static str,
    pub method_id: u16,
    /// As in `declare-ok`.
    pub method: &'static str,
    /// Arguments in wire order.
    pub fields: &'static [FieldInfo],
    /// Whether a content header and body follow the method.
    pub content: bool,
}

/// One argument of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// The name of the struct's field.
    pub name: &'static str,
    /// Elementary domain, by the specification's name: `bit`, `octet`, `short`, `long`,
    /// `longlong`, `shortstr`, `longstr` or `table`.
    pub domain: &'static str,
}

impl Method<'_> {
    /// Writes class id, method id and arguments: the payload of a method frame.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let (class_id, method_id) = self.ids();
        writer.short(class_id);
        writer.short(method_id);
        self.encode_arguments(writer);
    }

    /// Class id and method id.
    #[inline]
    pub fn ids(&self) -> (u16, u16) {
        EncodeMethod::ids(self)
    }
}

/// Reads the ids that begin every method payload.
#[inline]
pub(super) fn decode_ids(reader: &mut Reader<'_>) -> Result<(u16, u16), Malformed> {
    Ok((reader.short()?, reader.short()?))
}

/// Generates everything from lines of the form
/// `id "method-name" Struct<'a> EnumVariant [content] { field: domain, … }`.
/// The lifetime stands where a field borrows.
macro_rules! methods {
    ($(
        $(#[$class_doc:meta])*
        $class_id:literal $class:ident {
            $(
                $method_id:literal $method:literal $name:ident $(<$lifetime:lifetime>)?
                $variant:ident $([$content:ident])?
                { $($field:ident: $domain:ident),* $(,)? }
            )*
        }
    )*) => {
        $(
            $(#[$class_doc])*
            pub mod $class {
                use super::*;

                /// Id of the class on the wire.
                pub const CLASS_ID: u16 = $class_id;

                $(
                    #[doc = concat!("`", stringify!($class), ".", $method, "`")]
                    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
                    pub struct $name $(<$lifetime>)? {
                        $(pub $field: methods!(@type $domain),)*
                    }

                    impl<'a> $name $(<$lifetime>)? {
                        pub const CLASS_ID: u16 = $class_id;
                        pub const METHOD_ID: u16 = $method_id;

                        /// Reads the arguments, without the ids.
                        #[inline]
                        #[allow(unused_variables, reason = "some methods have no arguments")]
                        pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                            Ok($name {
                                $($field: methods!(@read reader $domain),)*
                            })
                        }

                        /// Writes the arguments, without the ids.
                        #[inline]
                        #[allow(unused_variables, reason = "some methods have no arguments")]
                        pub fn encode(&self, writer: &mut Writer<'_>) {
                            $(methods!(@write writer $domain self.$field);)*
                        }
                    }

                    impl $(<$lifetime>)? EncodeMethod for $name $(<$lifetime>)? {
                        #[inline]
                        fn ids(&self) -> (u16, u16) {
                            ($class_id, $method_id)
                        }

                        #[inline]
                        fn encode_arguments(&self, writer: &mut Writer<'_>) {
                            self.encode(writer);
                        }
                    }
                )*
            }
        )*

        /// Any method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Method<'a> {
            $($(
                #[doc = concat!("`", stringify!($class), ".", $method, "`")]
                $variant($class::$name $(<$lifetime>)?),
            )*)*
        }

        impl<'a> Method<'a> {
            /// Takes apart the payload of a method frame: ids and arguments, and nothing more.
            pub fn decode(payload: &'a [u8]) -> Result<Method<'a>, Malformed> {
                let mut reader = Reader::new(payload);
                let (class, method) = decode_ids(&mut reader)?;
                let decoded = match (class, method) {
                    $($(
                        ($class_id, $method_id) => {
                            Method::$variant($class::$name::decode(&mut reader)?)
                        }
                    )*)*
                    _ => return Err(Malformed::UnknownMethod { class, method }),
                };
                reader.finish()?;
                Ok(decoded)
            }

            /// As in `queue.declare`.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(
                        Method::$variant(_) => concat!(stringify!($class), ".", $method),
                    )*)*
                }
            }

            /// Whether a content header and body follow (AMQP 0-9-1 §4.2.6).
            pub fn has_content(&self) -> bool {
                match self {
                    $($(
                        Method::$variant(_) => methods!(@content $($content)?),
                    )*)*
                }
            }
        }

        impl EncodeMethod for Method<'_> {
            fn ids(&self) -> (u16, u16) {
                match self {
                    $($(Method::$variant(_) => ($class_id, $method_id),)*)*
                }
            }

            fn encode_arguments(&self, writer: &mut Writer<'_>) {
                match self {
                    $($(Method::$variant(method) => method.encode(writer),)*)*
                }
            }
        }

        $($(
            impl<'a> From<$class::$name $(<$lifetime>)?> for Method<'a> {
                #[inline]
                fn from(method: $class::$name $(<$lifetime>)?) -> Method<'a> {
                    Method::$variant(method)
                }
            }
        )*)*

        /// Every method, described.
        pub const METHODS: &[MethodInfo] = &[
            $($(
                MethodInfo {
                    class_id: $class_id,
                    class: stringify!($class),
                    method_id: $method_id,
                    method: $method,
                    fields: &[
                        $(FieldInfo {
                            name: stringify!($field),
                            domain: stringify!($domain),
                        },)*
                    ],
                    content: methods!(@content $($content)?),
                },
            )*)*
        ];
    };

    (@type bit) => { bool };
    (@type octet) => { u8 };
    (@type short) => { u16 };
    (@type long) => { u32 };
    (@type longlong) => { u64 };
    (@type shortstr) => { &'a [u8] };
    (@type longstr) => { &'a [u8] };
    (@type table) => { Table<'a> };

    (@read $reader:ident bit) => { $reader.bit()? };
    (@read $reader:ident octet) => { $reader.octet()? };
    (@read $reader:ident short) => { $reader.short()? };
    (@read $reader:ident long) => { $reader.long()? };
    (@read $reader:ident longlong) => { $reader.longlong()? };
    (@read $reader:ident shortstr) => { $reader.short_string()? };
    (@read $reader:ident longstr) => { $reader.long_string()? };
    (@read $reader:ident table) => { $reader.table()? };

    (@write $writer:ident bit $value:expr) => { $writer.bit($value) };
    (@write $writer:ident octet $value:expr) => { $writer.octet($value) };
    (@write $writer:ident short $value:expr) => { $writer.short($value) };
    (@write $writer:ident long $value:expr) => { $writer.long($value) };
    (@write $writer:ident longlong $value:expr) => { $writer.longlong($value) };
    (@write $writer:ident shortstr $value:expr) => { $writer.short_string($value) };
    (@write $writer:ident longstr $value:expr) => { $writer.long_string($value) };
    (@write $writer:ident table $value:expr) => { $writer.table($value) };

    (@content) => { false };
    (@content content) => { true };
}

pub(super) use methods;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::super::field_table::TableBuilder;
    use super::*;

    /// A field's value as bytes; bits are joined when the payload is put together.
    #[derive(Clone, Debug)]
    enum Argument {
        Bit(bool),
        Bytes(Vec<u8>),
    }

    fn argument(domain: &str) -> BoxedStrategy<Argument> {
        let fixed = |size| prop::collection::vec(any::<u8>(), size).boxed();
        let bytes = match domain {
            "bit" => return any::<bool>().prop_map(Argument::Bit).boxed(),
            "octet" => fixed(1),
            "short" => fixed(2),
            "long" => fixed(4),
            "longlong" => fixed(8),
            "shortstr" => arbitrary::name().boxed(),
            "longstr" => arbitrary::long_string().boxed(),
            "table" => arbitrary::table()
                .prop_map(|entries| arbitrary::with_size(&entries))
                .boxed(),
            other => panic!("no domain {other}"),
        };
        bytes.prop_map(Argument::Bytes).boxed()
    }

    /// The payload of a method frame with random arguments.
    fn payload(info: &'static MethodInfo) -> BoxedStrategy<Vec<u8>> {
        let arguments: Vec<_> = info.fields.iter().map(|f| argument(f.domain)).collect();
        arguments
            .prop_map(|arguments| {
                let mut out = [info.class_id.to_be_bytes(), info.method_id.to_be_bytes()].concat();
                let mut writer = Writer::new(&mut out);
                for argument in arguments {
                    match argument {
                        Argument::Bit(bit) => writer.bit(bit),
                        Argument::Bytes(bytes) => writer.raw(&bytes),
                    }
                }
                out
            })
            .boxed()
    }

    fn encoded(method: &Method<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        method.encode(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn queue_declare_is_laid_out_as_in_the_specification() {
        let mut arguments = TableBuilder::new();
        arguments.put("x", 1);
        let declare = queue::Declare {
            queue: b"jobs",
            durable: true,
            no_wait: true,
            arguments: arguments.view(),
            ..Default::default()
        };
        let method = Method::from(declare);
        let bytes = b"\x00\x32\x00\x0a\x00\x00\x04jobs\x12\x00\x00\x00\x07\x01xI\x00\x00\x00\x01";
        assert_eq!(encoded(&method), bytes);
        assert_eq!(Method::decode(bytes), Ok(method));
        assert_eq!(method.name(), "queue.declare");
        assert_eq!(method.ids(), (50, 10));
        assert_eq!(
            (queue::Declare::CLASS_ID, queue::Declare::METHOD_ID),
            (50, 10)
        );
        assert!(!method.has_content());
    }

    #[test]
    fn only_publish_return_deliver_and_get_ok_carry_content() {
        let with_content: Vec<_> = METHODS
            .iter()
            .filter(|info| info.content)
            .map(|info| info.method)
            .collect();
        assert_eq!(with_content, ["publish", "return", "deliver", "get-ok"]);
        assert!(Method::from(basic::Deliver::default()).has_content());
    }

    #[test]
    fn unknown_ids_are_refused() {
        for (class, method) in [(0, 0), (10, 12), (60, 121), (65535, 65535)] {
            let bytes = [u16::to_be_bytes(class), u16::to_be_bytes(method)].concat();
            assert_eq!(
                Method::decode(&bytes),
                Err(Malformed::UnknownMethod { class, method })
            );
        }
    }

    #[test]
    fn every_pair_of_ids_is_known_exactly_if_it_is_in_the_table() {
        for class in 0..=100u16 {
            for method in 0..=130u16 {
                let bytes = [class.to_be_bytes(), method.to_be_bytes()].concat();
                let known = METHODS
                    .iter()
                    .any(|info| (info.class_id, info.method_id) == (class, method));
                let refused =
                    matches!(Method::decode(&bytes), Err(Malformed::UnknownMethod { .. }));
                assert_ne!(known, refused, "{class}.{method}");
            }
        }
    }

    #[test]
    fn every_method_is_encoded_as_it_was_decoded_and_cut_anywhere_it_is_refused() {
        for info in METHODS {
            let config = ProptestConfig {
                cases: 24,
                failure_persistence: None,
                ..ProptestConfig::default()
            };
            proptest!(config, |(bytes in payload(info))| {
                let method = Method::decode(&bytes).unwrap();
                prop_assert_eq!(method.ids(), (info.class_id, info.method_id));
                prop_assert_eq!(method.name(), format!("{}.{}", info.class, info.method));
                prop_assert_eq!(method.has_content(), info.content);
                prop_assert_eq!(encoded(&method), &bytes[..]);
                for end in 0..bytes.len() {
                    prop_assert_eq!(Method::decode(&bytes[..end]), Err(Malformed::Truncated));
                }
                let longer = [&bytes[..], &[0]].concat();
                prop_assert_eq!(Method::decode(&longer), Err(Malformed::TrailingBytes));
            });
        }
    }
}
