//! AMQP and HTTP over TLS, logins by certificate, and the PROXY protocol: over real sockets, with certificates that
//! are made when the tests run. `openssl` has to be there.

#[allow(dead_code, reason = "this target uses a part of it")]
#[path = "../program/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod authority;
mod bystander;
mod client;
mod client_certificates;
mod damaged;
mod files;
mod https;
mod names;
mod openssl;
mod proxy;
mod revoked;
mod rotation;
mod traffic;
