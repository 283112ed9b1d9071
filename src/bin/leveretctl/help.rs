//! What `help` says, and what is said about command lines that are not right; all of it made from the
//! table of commands.

use std::io::IsTerminal;

use crate::arguments::Arguments;
use crate::commands::{self, Command};
use crate::failure::{EX_USAGE, Failure};

/// The name it was called by, which decides what help shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Leveretctl,
    Rabbitmqctl,
    Diagnostics,
    Queues,
    Plugins,
}

impl Tool {
    /// By the path of the program.
    pub fn called(program: &str) -> Tool {
        match program.rsplit('/').next().unwrap_or_default() {
            "rabbitmqctl" => Tool::Rabbitmqctl,
            "rabbitmq-diagnostics" => Tool::Diagnostics,
            "rabbitmq-queues" => Tool::Queues,
            "rabbitmq-plugins" => Tool::Plugins,
            _ => Tool::Leveretctl,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Tool::Leveretctl => "leveretctl",
            Tool::Rabbitmqctl => "rabbitmqctl",
            Tool::Diagnostics => "rabbitmq-diagnostics",
            Tool::Queues => "rabbitmq-queues",
            Tool::Plugins => "rabbitmq-plugins",
        }
    }
}

/// All commands of a tool, by group.
pub fn overview(tool: Tool) -> String {
    let shown: Vec<&Command> = commands::all().filter(|it| it.is_shown_by(tool)).collect();
    let width = shown.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "\n{}\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n",
        bold("Usage"),
        tool.name()
    );
    for group in commands::GROUPS {
        let mut of_group: Vec<_> = shown.iter().filter(|it| it.group == *group).collect();
        if of_group.is_empty() {
            continue;
        }
        of_group.sort_by_key(|it| it.name);
        text.push_str(&format!("\n{}:\n\n", bold(group.title())));
        for command in of_group {
            text.push_str(&format!(
                "   {:width$}  {}\n",
                command.name, command.summary
            ));
        }
    }
    text.push_str(&format!(
        "\nUse '{} help <command>' to learn more about a specific command\n",
        tool.name()
    ));
    text
}

/// One command in full.
pub fn of_command(tool: Tool, command: &Command) -> String {
    let mut text = format!(
        "\n{}\n\n{}\n\n{}.\n",
        bold("Usage"),
        usage(tool, command),
        command.summary
    );
    let columns = command.columns.map(|columns| {
        let mut names: Vec<_> = columns.iter().map(|column| column.name).collect();
        names.sort_unstable();
        ("<column>", format!("must be one of {}", names.join(", ")))
    });
    let details = command
        .details
        .iter()
        .map(|(name, what)| (*name, (*what).to_owned()));
    let details: Vec<_> = columns.into_iter().chain(details).collect();
    if !details.is_empty() {
        text.push_str(&format!("\n{}\n", bold("Arguments and Options")));
        for (name, what) in details {
            text.push_str(&format!("\n{name}\n\t{what}\n"));
        }
    }
    text.push_str(&format!("\n{}\n\n{GENERAL}", bold("General Options")));
    text
}

fn usage(tool: Tool, command: &Command) -> String {
    let general = "[--node <node>] [--longnames] [--quiet]";
    let text = format!(
        "{} {general} {} {}",
        tool.name(),
        command.name,
        command.usage
    );
    text.trim_end().to_owned()
}

/// The command line does not fit the command.
pub fn wrong_arguments(
    tool: Tool,
    command: &Command,
    arguments: &Arguments,
    code: u8,
    problem: &str,
) -> Failure {
    // RabbitMQ repeats passwords, too.
    let secret_from = command.secret_from.map_or(usize::MAX, |index| index + 1);
    let text = format!(
        "Error (argument validation): {problem}\nArguments given:\n\t{}\n\n{}\n\n{}",
        arguments.shown(secret_from),
        bold("Usage"),
        usage(tool, command)
    );
    Failure::bare(code, text)
}

pub fn unknown_command(tool: Tool, name: &str) -> Failure {
    let similar = commands::all()
        .filter(|it| it.is_shown_by(tool))
        .map(|command| (distance(command.name, name), command.name))
        .filter(|(distance, command)| distance * 3 <= command.len())
        .min();
    let text = match similar {
        Some((_, command)) => {
            format!("\nCommand '{name}' not found. \nDid you mean '{command}'? \n")
        }
        None => format!("\nCommand '{name}' not found. \n{}", overview(tool)),
    };
    Failure::bare(EX_USAGE, text)
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (index, compared) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != compared);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// RabbitMQ's headings are bold wherever they go; ours only where somebody sees it.
pub fn bold(text: &str) -> String {
    match std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

const GENERAL: &str = "\
The broker is found by its data directory, or spoken to over TCP:

--data-dir <dir>        the broker's data directory; its socket is leveret.sock there
                        (default: LEVERET_DATA_DIR, data_dir of /etc/leveret/leveret.conf,
                        or leveret-data here)
--socket <path>         the socket itself
--host <host>           speak to the HTTP API at this host (default: localhost); with https:// before
                        it over TLS
--port <port>           at this port (default: 15672, or 15671 with TLS),
--user <name>           as this user (default: guest),
--password <password>   with this password (default: LEVERET_PASSWORD, or guest),
--password-file <file>  or the first line of this file; - is standard input
--tls                   over TLS, as with --ca or --cert
--ca <file>             and believe this authority (PEM; default: those that the system believes)
--cert <file>           and show this certificate (PEM), with
--key <file>            this key

These are accepted by all commands:

-p, --vhost <name>      virtual host of commands that work in one (default: /)
-q, --quiet             without informational messages
-s, --silent            without informational messages and table headers
--no-table-headers      without table headers
--formatter <name>      table, pretty_table, json, csv or erlang
-t, --timeout <n>       how long to wait, in seconds
-?, --help              displays this
-n, --node <node>       accepted for RabbitMQ's sake: there is one node
-l, --longnames         likewise
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_names() {
        assert_eq!(Tool::called("/usr/sbin/rabbitmqctl"), Tool::Rabbitmqctl);
        assert_eq!(Tool::called("rabbitmq-diagnostics"), Tool::Diagnostics);
        assert_eq!(Tool::called("./whatever"), Tool::Leveretctl);
    }

    #[test]
    fn misspelt_commands_are_guessed() {
        let text = unknown_command(Tool::Rabbitmqctl, "list_queue").text;
        assert_eq!(
            text,
            "\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n"
        );
        let text = unknown_command(Tool::Rabbitmqctl, "bogus").text;
        assert!(text.contains("Available commands:"));
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn passwords_are_not_repeated() {
        let arguments = ["add_user", "u", "secret", "more", "--password", "hidden"];
        let arguments = Arguments::parse(arguments.map(str::to_owned));
        let command = commands::named(Tool::Rabbitmqctl, "add_user").unwrap();
        let text = wrong_arguments(Tool::Rabbitmqctl, command, &arguments, 64, "x").text;
        assert!(
            text.contains("\n\tadd_user u *** *** --password ***\n"),
            "{text}"
        );
        assert!(!text.contains("hidden"));
    }
}
