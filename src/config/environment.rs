//! Variables of the environment that stand for keys: those that RabbitMQ's containers and packages use,
//! and ours.

use super::sources::{Setting, Source};

/// The settings of the variables that `lookup` finds. An empty variable is none.
pub fn settings(lookup: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let lookup = |variable: &str| lookup(variable).filter(|value| !value.is_empty());
    let mut settings: Vec<_> = VARIABLES
        .iter()
        .filter_map(|&(variable, key)| {
            Some(Setting::new(
                key,
                lookup(variable)?,
                Source::Environment(variable),
            ))
        })
        .collect();
    settings.extend(listener(&lookup));
    settings
}

/// RabbitMQ: one address, and one port.
fn listener(lookup: &impl Fn(&str) -> Option<String>) -> Option<Setting> {
    let (ip, port) = (lookup(NODE_IP_ADDRESS), lookup(NODE_PORT));
    let variable = if port.is_some() {
        NODE_PORT
    } else {
        NODE_IP_ADDRESS
    };
    let value = match (ip, port) {
        (None, None) => return None,
        (None, Some(port)) => port,
        (Some(ip), port) => {
            let bare = ip.contains(':') && !ip.starts_with('[');
            let ip = if bare { format!("[{ip}]") } else { ip };
            port.map_or(ip.clone(), |port| format!("{ip}:{port}"))
        }
    };
    Some(Setting::new(
        "listeners.tcp.default",
        value,
        Source::Environment(variable),
    ))
}

const NODE_PORT: &str = "RABBITMQ_NODE_PORT";
const NODE_IP_ADDRESS: &str = "RABBITMQ_NODE_IP_ADDRESS";

const VARIABLES: [(&str, &str); 7] = [
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
    ("RABBITMQ_LOG_BASE", "log.dir"),
    ("RABBITMQ_PID_FILE", "pid_file"),
    ("RABBITMQ_NODENAME", "node_name"),
    ("LEVERET_DATA_DIR", "data_dir"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = settings(lookup).into_iter();
        settings
            .map(|setting| (setting.key, setting.value))
            .collect()
    }

    #[test]
    fn variables_stand_for_keys() {
        assert_eq!(
            of(&[
                ("RABBITMQ_DEFAULT_USER", "alice"),
                ("RABBITMQ_DEFAULT_PASS", ""),
                ("HOME", "/")
            ]),
            [("default_user".to_owned(), "alice".to_owned())]
        );
    }

    #[test]
    fn address_and_port_are_one_listener() {
        for (ip, port, listener) in [
            ("", "5673", "5673"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "5673", "127.0.0.1:5673"),
            ("::1", "5673", "[::1]:5673"),
        ] {
            assert_eq!(
                of(&[(NODE_IP_ADDRESS, ip), (NODE_PORT, port)]),
                [("listeners.tcp.default".to_owned(), listener.to_owned())]
            );
        }
    }
}
