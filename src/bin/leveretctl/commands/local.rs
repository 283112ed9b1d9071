//! What needs no broker: help, completion, hashes, a look at a stopped broker's data.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use leveret::broker::access::{PasswordHash, SALT_SIZE};
use leveret::store;
use serde_json::{Value, json};

use crate::failure::{EX_DATAERR, EX_SOFTWARE, EX_USAGE, Failure};
use crate::help;
use crate::output::Output;
use crate::session::Session;
use crate::target::data_directory;

use super::{all, bad_argument, meaningless, named, users};

pub fn help(session: &mut Session) -> Result<Output, Failure> {
    let tool = session.tool;
    let Some(name) = session.optional(0) else {
        return Ok(Output::Text(help::overview(tool)));
    };
    if let Some(reason) = meaningless(&name) {
        return Ok(Output::text(format!("\n{name} is not supported: {reason}")));
    }
    match named(tool, &name) {
        Some(command) => Ok(Output::Text(help::of_command(tool, command))),
        None => {
            let text = format!("\nCommand '{name}' not found.");
            Err(Failure::new(EX_USAGE, text))
        }
    }
}

pub fn version(_: &mut Session) -> Result<Output, Failure> {
    Ok(Output::text(env!("CARGO_PKG_VERSION")))
}

/// Names of commands that begin so, for shells.
pub fn autocomplete(session: &mut Session) -> Result<Output, Failure> {
    let (tool, prefix) = (session.tool, session.argument(0));
    let mut names: Vec<_> = all()
        .filter(|command| command.is_shown_by(tool) && command.name.starts_with(&prefix))
        .map(|command| format!("{}\n", command.name))
        .collect();
    names.sort_unstable();
    Ok(Output::Text(names.concat()))
}

pub fn hash_password(session: &mut Session) -> Result<Output, Failure> {
    let password = users::secret(session, 0)?;
    let mut salt = [0; SALT_SIZE];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut salt))
        .map_err(|error: io::Error| Failure::new(EX_SOFTWARE, error.to_string()))?;
    let hash = PasswordHash::of(password.as_bytes(), salt).to_base64();
    Ok(Output::Report {
        value: json!(hash),
        text: hash,
    })
}

/// What a stopped broker's data directory holds, and whether it is sound.
pub fn check(session: &mut Session) -> Result<Output, Failure> {
    let named = session.optional(0).map(PathBuf::from);
    let directory = named.unwrap_or_else(|| data_directory(&session.arguments));
    // The library would make the directory to lock it.
    if !directory.is_dir() {
        let text = format!("Directory {} does not exist", directory.display());
        return Err(Failure::new(EX_DATAERR, text));
    }
    session.say(&format!(
        "Checking data directory {} ...",
        directory.display()
    ));
    let inspection =
        store::check(&directory).map_err(|error| Failure::new(EX_DATAERR, error.to_string()))?;
    match inspection.is_whole() {
        true => Ok(Output::Report {
            text: inspection.to_string(),
            value: json!({"result": "ok", "report": inspection.to_string()}),
        }),
        false => Err(Failure::bare(EX_DATAERR, inspection.to_string())),
    }
}

/// Configuration values are not encrypted here.
pub fn no_encryption(_: &mut Session) -> Result<Output, Failure> {
    Err(Failure::bare(
        EX_USAGE,
        "Error: encrypted configuration values are not supported: the configuration file has them \
         as they are. Let only the broker's user read it.",
    ))
}

pub fn tls_versions(session: &mut Session) -> Result<Output, Failure> {
    session.say("Listing all TLS versions supported by leveret...");
    Ok(Output::Report {
        text: "tlsv1.3\ntlsv1.2\n".to_owned(),
        value: json!({"result": "ok", "versions": ["tlsv1.3", "tlsv1.2"]}),
    })
}

pub fn cipher_suites(session: &mut Session) -> Result<Output, Failure> {
    let format = session.arguments.text("format").unwrap_or("openssl");
    let (title, names): (_, Vec<&str>) = match format {
        "openssl" => ("OpenSSL", CIPHER_SUITES.map(|(name, _)| name).to_vec()),
        _ => ("IANA", CIPHER_SUITES.map(|(_, name)| name).to_vec()),
    };
    session.say(&format!(
        "Listing available cipher suites in {title} format"
    ));
    Ok(Output::Report {
        text: names.join("\n"),
        value: Value::from(names),
    })
}

pub fn check_cipher_format(arguments: &crate::arguments::Arguments) -> Result<(), (u8, String)> {
    match arguments.text("format") {
        None | Some("openssl" | "iana" | "erlang" | "map") => Ok(()),
        Some(_) => Err(bad_argument("Format should be either openssl or iana")),
    }
}

/// What rustls has: TLS 1.3, then TLS 1.2; by OpenSSL's name and by IANA's.
#[rustfmt::skip]
const CIPHER_SUITES: [(&str, &str); 9] = [
    ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];
