//! Why a command did not do what it was asked, and the exit status that says so (sysexits.h, as
//! rabbitmqctl uses it).

/// The command line is not right, or the command has no meaning here.
pub const EX_USAGE: u8 = 64;
/// What was given cannot be: a file, a definition, a virtual host that is not there.
pub const EX_DATAERR: u8 = 65;
/// There is no such user.
pub const EX_NOUSER: u8 = 67;
/// The broker cannot be reached, or refused.
pub const EX_UNAVAILABLE: u8 = 69;
/// There is one already.
pub const EX_SOFTWARE: u8 = 70;
/// It took too long.
pub const EX_TEMPFAIL: u8 = 75;

/// Text for standard error and an exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    pub text: String,
    /// Whether the line `Error:` goes before it.
    pub is_introduced: bool,
}

impl Failure {
    pub fn new(code: u8, text: impl Into<String>) -> Failure {
        Failure {
            code,
            text: text.into(),
            is_introduced: true,
        }
    }

    /// The same without the line `Error:`.
    pub fn bare(code: u8, text: impl Into<String>) -> Failure {
        Failure {
            is_introduced: false,
            ..Failure::new(code, text)
        }
    }

    /// The broker refused, or could not be understood.
    pub fn unavailable(text: impl Into<String>) -> Failure {
        Failure::new(EX_UNAVAILABLE, text)
    }

    pub fn no_user(name: &str) -> Failure {
        Failure::new(EX_NOUSER, format!("User \"{name}\" does not exist"))
    }

    pub fn no_vhost(name: &str) -> Failure {
        Failure::bare(EX_DATAERR, format!("Virtual host '{name}' does not exist"))
    }

    pub fn not_json(error: &serde_json::Error) -> Failure {
        Failure::unavailable(format!("JSON decoding error. Reason: {error}"))
    }

    /// As it is printed.
    pub fn message(&self) -> String {
        match self.is_introduced {
            true => format!("Error:\n{}\n", self.text),
            false => format!("{}\n", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_failures_are_introduced() {
        let user = Failure::no_user("u").message();
        assert_eq!(user, "Error:\nUser \"u\" does not exist\n");
        let vhost = Failure::no_vhost("v").message();
        assert_eq!(vhost, "Virtual host 'v' does not exist\n");
    }
}
