//! The enum over all exchange types, made from their list: a closed set, so that the usual types cost a
//! jump and no call through a pointer.

/// Makes `Router` from lines of `"name" => Variant(Table)`, where `Table<D>` implements
/// [`ExchangeType`](super::ExchangeType).
macro_rules! exchange_types {
    ($($name:literal => $variant:ident($table:ident),)+) => {
        /// The routing table of one exchange, by its type.
        #[derive(Debug)]
        pub enum Router<D> {
            $($variant($table<D>),)+
        }

        impl<D: Copy + Ord> Router<D> {
            /// The names of all types.
            pub const TYPE_NAMES: &'static [&'static str] = &[$($name),+];

            /// Whether there is a type of this name.
            pub fn check_type_name(name: &[u8]) -> Result<(), Refused> {
                match name {
                    $(name if name == $name.as_bytes() => Ok(()),)+
                    _ => Err(Refused::unknown_type(name)),
                }
            }

            fn of_type(name: &[u8], declaration: &Declaration<'_>) -> Result<Self, Refused> {
                match name {
                    $(name if name == $name.as_bytes() => {
                        $table::declare(declaration).map(Router::$variant)
                    })+
                    _ => Err(Refused::unknown_type(name)),
                }
            }

            /// The name of the type, as `exchange.declare` gives it.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Router::$variant(table) => ExchangeType::type_name(table, $name),)+
                }
            }

            /// See [`ExchangeType::check_binding`].
            pub fn check_binding(&self, key: &[u8], arguments: Table<'_>) -> Result<(), String> {
                match self {
                    $(Router::$variant(table) => ExchangeType::check_binding(table, key, arguments),)+
                }
            }

            /// See [`ExchangeType::bind`].
            pub fn bind(&mut self, binding: &NewBinding<'_, D>) {
                match self {
                    $(Router::$variant(table) => ExchangeType::bind(table, binding),)+
                }
            }

            /// See [`ExchangeType::unbind`].
            pub fn unbind(&mut self, key: &[u8], arguments: Table<'_>, destination: D) {
                match self {
                    $(Router::$variant(table) => ExchangeType::unbind(table, key, arguments, destination),)+
                }
            }

            /// See [`ExchangeType::route`].
            #[inline]
            pub fn route(&mut self, key: &[u8], properties: &Properties<'_>, out: &mut Vec<D>) {
                match self {
                    $(Router::$variant(table) => ExchangeType::route(table, key, properties, out),)+
                }
            }

            /// See [`ExchangeType::wants_every_key`].
            #[inline]
            pub fn wants_every_key(&self) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::wants_every_key(table),)+
                }
            }

            /// See [`ExchangeType::is_repeatable`].
            #[inline]
            pub fn is_repeatable(&self) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::is_repeatable(table),)+
                }
            }

            /// See [`ExchangeType::reads_headers`].
            #[inline]
            pub fn reads_headers(&self) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::reads_headers(table),)+
                }
            }

            /// See [`ExchangeType::history_length`].
            pub fn history_length(&self) -> usize {
                match self {
                    $(Router::$variant(table) => ExchangeType::history_length(table),)+
                }
            }

            /// See [`ExchangeType::keeps`].
            pub fn keeps(&self, properties: &Properties<'_>) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::keeps(table, properties),)+
                }
            }

            /// See [`ExchangeType::delays`].
            pub fn delays(&self) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::delays(table),)+
                }
            }

            /// See [`ExchangeType::deduplicates`].
            pub fn deduplicates(&self) -> bool {
                match self {
                    $(Router::$variant(table) => ExchangeType::deduplicates(table),)+
                }
            }
        }
    };
}

pub(super) use exchange_types;
