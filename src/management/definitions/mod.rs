//! Definitions: all that was declared and set, as a file that brokers read and write (RabbitMQ 3.x and
//! 4.x, LavinMQ). Messages are not in it.
//!
//! ```text
//! items     one thing that a file defines, read from JSON
//! standing  how it stands to what is there: new, other, the same
//! import    many of them, in the order in which they need each other
//! export    all that is there
//! stored    the same of a broker that does not run, out of its data directory
//! ```
//!
//! Nothing here waits for the loop or reads a file: it is done in pieces by whoever has the hub.

mod export;
mod import;
mod items;
mod standing;
mod stored;

pub use export::{Export, Piece};
pub use import::{Imported, import, import_at_start};
pub use items::{Definitions, Item};
pub use stored::{Stored, Unreadable, stored_definitions};
