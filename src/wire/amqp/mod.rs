//! AMQP 0-9-1 with RabbitMQ's extensions, as bytes: frames, methods, properties, field tables.
//!
//! ```text
//! bytes -> Frame::decode -> METHOD -> Method::decode        -> a struct per method
//!                           HEADER -> ContentHeader::decode -> Properties::decode, when needed
//!                           BODY   -> the payload as it is
//! ```

#[cfg(test)]
mod arbitrary;
pub mod field_table;
mod field_value;
pub mod frame;
pub mod method;
mod method_table;
pub mod properties;
pub mod reply_code;
mod table_builder;

pub use field_table::{Array, ArrayBuilder, OwnedTable, Table, TableBuilder, Value};
pub use frame::{ContentHeader, Frame, PROTOCOL_HEADER};
pub use method::{
    EncodeMethod, METHODS, Method, access, basic, channel, confirm, connection, exchange, queue, tx,
};
pub use properties::Properties;
pub use reply_code::ReplyCode;
