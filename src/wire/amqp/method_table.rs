//! Every class and method of AMQP 0-9-1 and of RabbitMQ's extensions, in order of their ids.
//!
//! Names are the specification's, except: `type` is `kind`, `nowait` is `no_wait`, the reserved
//! short that once was an access ticket is `ticket`, other reserved fields keep the name
//! `reserved_n`. `tests/wire_table.rs` holds the table against the specification.

use super::super::Malformed;
use super::super::reader::Reader;
use super::super::writer::Writer;
use super::field_table::Table;
use super::method::{EncodeMethod, FieldInfo, MethodInfo, decode_ids, methods};

methods! {
    /// Work with connections (AMQP 0-9-1 §1.4; RabbitMQ: `connection.blocked`, `update-secret`).
    10 connection {
        10 "start" Start<'a> ConnectionStart {
            version_major: octet,
            version_minor: octet,
            server_properties: table,
            mechanisms: longstr,
            locales: longstr,
        }
        11 "start-ok" StartOk<'a> ConnectionStartOk {
            client_properties: table,
            mechanism: shortstr,
            response: longstr,
            locale: shortstr,
        }
        20 "secure" Secure<'a> ConnectionSecure { challenge: longstr }
        21 "secure-ok" SecureOk<'a> ConnectionSecureOk { response: longstr }
        30 "tune" Tune ConnectionTune { channel_max: short, frame_max: long, heartbeat: short }
        31 "tune-ok" TuneOk ConnectionTuneOk {
            channel_max: short,
            frame_max: long,
            heartbeat: short,
        }
        40 "open" Open<'a> ConnectionOpen {
            virtual_host: shortstr,
            reserved_1: shortstr,
            reserved_2: bit,
        }
        41 "open-ok" OpenOk<'a> ConnectionOpenOk { reserved_1: shortstr }
        50 "close" Close<'a> ConnectionClose {
            reply_code: short,
            reply_text: shortstr,
            class_id: short,
            method_id: short,
        }
        51 "close-ok" CloseOk ConnectionCloseOk {}
        60 "blocked" Blocked<'a> ConnectionBlocked { reason: shortstr }
        61 "unblocked" Unblocked ConnectionUnblocked {}
        70 "update-secret" UpdateSecret<'a> ConnectionUpdateSecret {
            new_secret: longstr,
            reason: shortstr,
        }
        71 "update-secret-ok" UpdateSecretOk ConnectionUpdateSecretOk {}
    }

    /// Work with channels (AMQP 0-9-1 §1.5).
    20 channel {
        10 "open" Open<'a> ChannelOpen { reserved_1: shortstr }
        11 "open-ok" OpenOk<'a> ChannelOpenOk { reserved_1: longstr }
        20 "flow" Flow ChannelFlow { active: bit }
        21 "flow-ok" FlowOk ChannelFlowOk { active: bit }
        40 "close" Close<'a> ChannelClose {
            reply_code: short,
            reply_text: shortstr,
            class_id: short,
            method_id: short,
        }
        41 "close-ok" CloseOk ChannelCloseOk {}
    }

    /// Access tickets, a relic of AMQP 0-8 that RabbitMQ still answers.
    30 access {
        10 "request" Request<'a> AccessRequest {
            realm: shortstr,
            exclusive: bit,
            passive: bit,
            active: bit,
            write: bit,
            read: bit,
        }
        11 "request-ok" RequestOk AccessRequestOk { ticket: short }
    }

    /// Work with exchanges (AMQP 0-9-1 §1.6; RabbitMQ: exchange to exchange bindings).
    40 exchange {
        10 "declare" Declare<'a> ExchangeDeclare {
            ticket: short,
            exchange: shortstr,
            kind: shortstr,
            passive: bit,
            durable: bit,
            auto_delete: bit,
            internal: bit,
            no_wait: bit,
            arguments: table,
        }
        11 "declare-ok" DeclareOk ExchangeDeclareOk {}
        20 "delete" Delete<'a> ExchangeDelete {
            ticket: short,
            exchange: shortstr,
            if_unused: bit,
            no_wait: bit,
        }
        21 "delete-ok" DeleteOk ExchangeDeleteOk {}
        30 "bind" Bind<'a> ExchangeBind {
            ticket: short,
            destination: shortstr,
            source: shortstr,
            routing_key: shortstr,
            no_wait: bit,
            arguments: table,
        }
        31 "bind-ok" BindOk ExchangeBindOk {}
        40 "unbind" Unbind<'a> ExchangeUnbind {
            ticket: short,
            destination: shortstr,
            source: shortstr,
            routing_key: shortstr,
            no_wait: bit,
            arguments: table,
        }
        51 "unbind-ok" UnbindOk ExchangeUnbindOk {}
    }

    /// Work with queues (AMQP 0-9-1 §1.7).
    50 queue {
        10 "declare" Declare<'a> QueueDeclare {
            ticket: short,
            queue: shortstr,
            passive: bit,
            durable: bit,
            exclusive: bit,
            auto_delete: bit,
            no_wait: bit,
            arguments: table,
        }
        11 "declare-ok" DeclareOk<'a> QueueDeclareOk {
            queue: shortstr,
            message_count: long,
            consumer_count: long,
        }
        20 "bind" Bind<'a> QueueBind {
            ticket: short,
            queue: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
            no_wait: bit,
            arguments: table,
        }
        21 "bind-ok" BindOk QueueBindOk {}
        30 "purge" Purge<'a> QueuePurge { ticket: short, queue: shortstr, no_wait: bit }
        31 "purge-ok" PurgeOk QueuePurgeOk { message_count: long }
        40 "delete" Delete<'a> QueueDelete {
            ticket: short,
            queue: shortstr,
            if_unused: bit,
            if_empty: bit,
            no_wait: bit,
        }
        41 "delete-ok" DeleteOk QueueDeleteOk { message_count: long }
        50 "unbind" Unbind<'a> QueueUnbind {
            ticket: short,
            queue: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
            arguments: table,
        }
        51 "unbind-ok" UnbindOk QueueUnbindOk {}
    }

    /// Work with basic content (AMQP 0-9-1 §1.8; RabbitMQ: `basic.nack`).
    60 basic {
        10 "qos" Qos BasicQos { prefetch_size: long, prefetch_count: short, global: bit }
        11 "qos-ok" QosOk BasicQosOk {}
        20 "consume" Consume<'a> BasicConsume {
            ticket: short,
            queue: shortstr,
            consumer_tag: shortstr,
            no_local: bit,
            no_ack: bit,
            exclusive: bit,
            no_wait: bit,
            arguments: table,
        }
        21 "consume-ok" ConsumeOk<'a> BasicConsumeOk { consumer_tag: shortstr }
        30 "cancel" Cancel<'a> BasicCancel { consumer_tag: shortstr, no_wait: bit }
        31 "cancel-ok" CancelOk<'a> BasicCancelOk { consumer_tag: shortstr }
        40 "publish" Publish<'a> BasicPublish [content] {
            ticket: short,
            exchange: shortstr,
            routing_key: shortstr,
            mandatory: bit,
            immediate: bit,
        }
        50 "return" Return<'a> BasicReturn [content] {
            reply_code: short,
            reply_text: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
        }
        60 "deliver" Deliver<'a> BasicDeliver [content] {
            consumer_tag: shortstr,
            delivery_tag: longlong,
            redelivered: bit,
            exchange: shortstr,
            routing_key: shortstr,
        }
        70 "get" Get<'a> BasicGet { ticket: short, queue: shortstr, no_ack: bit }
        71 "get-ok" GetOk<'a> BasicGetOk [content] {
            delivery_tag: longlong,
            redelivered: bit,
            exchange: shortstr,
            routing_key: shortstr,
            message_count: long,
        }
        72 "get-empty" GetEmpty<'a> BasicGetEmpty { reserved_1: shortstr }
        80 "ack" Ack BasicAck { delivery_tag: longlong, multiple: bit }
        90 "reject" Reject BasicReject { delivery_tag: longlong, requeue: bit }
        100 "recover-async" RecoverAsync BasicRecoverAsync { requeue: bit }
        110 "recover" Recover BasicRecover { requeue: bit }
        111 "recover-ok" RecoverOk BasicRecoverOk {}
        120 "nack" Nack BasicNack { delivery_tag: longlong, multiple: bit, requeue: bit }
    }

    /// Publisher confirms (RabbitMQ).
    85 confirm {
        10 "select" Select ConfirmSelect { no_wait: bit }
        11 "select-ok" SelectOk ConfirmSelectOk {}
    }

    /// Work with transactions (AMQP 0-9-1 §1.9).
    90 tx {
        10 "select" Select TxSelect {}
        11 "select-ok" SelectOk TxSelectOk {}
        20 "commit" Commit TxCommit {}
        21 "commit-ok" CommitOk TxCommitOk {}
        30 "rollback" Rollback TxRollback {}
        31 "rollback-ok" RollbackOk TxRollbackOk {}
    }
}
