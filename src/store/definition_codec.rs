//! Definitions as bytes: a kind, then the fields in their order, each string with its size.

use crate::broker::journal::{
    Definition, QueueId, StoredBinding, StoredDestination, StoredExchange, StoredQueue,
};
use crate::wire::amqp::field_table::{OwnedTable, Table};

use super::number::{read, read_bytes, write, write_bytes};

pub(super) fn encode(definition: &Definition, out: &mut Vec<u8>) {
    match definition {
        Definition::ExchangeDeclared(exchange) => {
            out.push(EXCHANGE_DECLARED);
            write_bytes(out, &exchange.virtual_host);
            write_bytes(out, &exchange.name);
            write_bytes(out, &exchange.kind);
            out.push(u8::from(exchange.auto_delete) | u8::from(exchange.internal) << 1);
            write_bytes(out, exchange.arguments.view().as_bytes());
        }
        Definition::ExchangeDeleted { virtual_host, name } => {
            out.push(EXCHANGE_DELETED);
            write_bytes(out, virtual_host);
            write_bytes(out, name);
        }
        Definition::QueueDeclared(queue) => {
            out.push(QUEUE_DECLARED);
            write(out, queue.id.0);
            write_bytes(out, &queue.virtual_host);
            write_bytes(out, &queue.name);
            out.push(u8::from(queue.auto_delete));
            write_bytes(out, queue.arguments.view().as_bytes());
        }
        Definition::QueueDeleted { id } => {
            out.push(QUEUE_DELETED);
            write(out, id.0);
        }
        Definition::Bound(binding) => {
            out.push(BOUND);
            encode_binding(binding, out);
        }
        Definition::Unbound(binding) => {
            out.push(UNBOUND);
            encode_binding(binding, out);
        }
    }
}

fn encode_binding(binding: &StoredBinding, out: &mut Vec<u8>) {
    write_bytes(out, &binding.virtual_host);
    write_bytes(out, &binding.source);
    match &binding.destination {
        StoredDestination::Queue(id) => {
            out.push(TO_QUEUE);
            write(out, id.0);
        }
        StoredDestination::Exchange(name) => {
            out.push(TO_EXCHANGE);
            write_bytes(out, name);
        }
    }
    write_bytes(out, &binding.routing_key);
    write_bytes(out, binding.arguments.view().as_bytes());
}

/// Whether an encoded definition takes something back.
pub(super) fn undoes(bytes: &[u8]) -> bool {
    matches!(
        bytes.first(),
        Some(&(EXCHANGE_DELETED | QUEUE_DELETED | UNBOUND))
    )
}

/// `None` if that is not what the bytes are.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Definition> {
    let bytes = &mut bytes;
    let definition = match byte(bytes)? {
        EXCHANGE_DECLARED => {
            let virtual_host = read_bytes(bytes)?.into();
            let name = read_bytes(bytes)?.into();
            let kind = read_bytes(bytes)?.into();
            let flags = byte(bytes)?;
            Definition::ExchangeDeclared(StoredExchange {
                virtual_host,
                name,
                kind,
                auto_delete: flags & 1 != 0,
                internal: flags & 2 != 0,
                arguments: table(bytes)?,
            })
        }
        EXCHANGE_DELETED => Definition::ExchangeDeleted {
            virtual_host: read_bytes(bytes)?.into(),
            name: read_bytes(bytes)?.into(),
        },
        QUEUE_DECLARED => Definition::QueueDeclared(StoredQueue {
            id: queue_id(bytes)?,
            virtual_host: read_bytes(bytes)?.into(),
            name: read_bytes(bytes)?.into(),
            auto_delete: byte(bytes)? != 0,
            arguments: table(bytes)?,
        }),
        QUEUE_DELETED => Definition::QueueDeleted {
            id: queue_id(bytes)?,
        },
        BOUND => Definition::Bound(decode_binding(bytes)?),
        UNBOUND => Definition::Unbound(decode_binding(bytes)?),
        _ => return None,
    };
    bytes.is_empty().then_some(definition)
}

fn decode_binding(bytes: &mut &[u8]) -> Option<StoredBinding> {
    Some(StoredBinding {
        virtual_host: read_bytes(bytes)?.into(),
        source: read_bytes(bytes)?.into(),
        destination: match byte(bytes)? {
            TO_QUEUE => StoredDestination::Queue(queue_id(bytes)?),
            TO_EXCHANGE => StoredDestination::Exchange(read_bytes(bytes)?.into()),
            _ => return None,
        },
        routing_key: read_bytes(bytes)?.into(),
        arguments: table(bytes)?,
    })
}

fn queue_id(bytes: &mut &[u8]) -> Option<QueueId> {
    let id = QueueId(read(bytes)?);
    (id.0 <= QueueId::STORED_MAX).then_some(id)
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    bytes.split_off_first().copied()
}

fn table(bytes: &mut &[u8]) -> Option<OwnedTable> {
    let table = Table::from_encoded(read_bytes(bytes)?).ok()?;
    Some(OwnedTable::from(table))
}

const EXCHANGE_DECLARED: u8 = 1;
const EXCHANGE_DELETED: u8 = 2;
const QUEUE_DECLARED: u8 = 3;
const QUEUE_DELETED: u8 = 4;
const BOUND: u8 = 5;
const UNBOUND: u8 = 6;

const TO_QUEUE: u8 = 0;
const TO_EXCHANGE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::TableBuilder;

    #[test]
    fn definitions_are_read_as_written_and_never_from_less() {
        let mut arguments = TableBuilder::new();
        arguments.put(b"x-max-length", 5i32);
        let arguments = arguments.finish();
        let binding = StoredBinding {
            virtual_host: (*b"/").into(),
            source: (*b"logs").into(),
            destination: StoredDestination::Queue(QueueId(300)),
            routing_key: (*b"a.b").into(),
            arguments: arguments.clone(),
        };
        let definitions = [
            Definition::ExchangeDeclared(StoredExchange {
                virtual_host: (*b"/").into(),
                name: (*b"logs").into(),
                kind: (*b"topic").into(),
                auto_delete: false,
                internal: true,
                arguments: arguments.clone(),
            }),
            Definition::ExchangeDeleted {
                virtual_host: (*b"/").into(),
                name: (*b"logs").into(),
            },
            Definition::QueueDeclared(StoredQueue {
                id: QueueId(300),
                virtual_host: (*b"/").into(),
                name: (*b"jobs").into(),
                auto_delete: true,
                arguments,
            }),
            Definition::QueueDeleted { id: QueueId(300) },
            Definition::Bound(binding.clone()),
            Definition::Unbound(StoredBinding {
                destination: StoredDestination::Exchange((*b"other").into()),
                ..binding
            }),
        ];
        for definition in definitions {
            let mut bytes = Vec::new();
            encode(&definition, &mut bytes);
            assert_eq!(decode(&bytes), Some(definition));
            for size in 0..bytes.len() {
                assert_eq!(decode(&bytes[..size]), None);
            }
        }
    }
}
