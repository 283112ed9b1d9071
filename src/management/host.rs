//! What only the program around the broker can do. A broker inside another program has none of it.

/// The program that the broker runs in.
pub trait Host: Send + Sync {
    /// The configuration in effect as a file that would bring it about, each value with where it came
    /// from, and no secrets.
    fn configuration(&self) -> String;

    /// Files that it was read from.
    fn configuration_files(&self) -> Vec<String>;

    fn log_files(&self) -> Vec<String>;

    /// Changes how much is logged, of everything or of one category, until the configuration is read
    /// again. RabbitMQ's names of levels and categories.
    ///
    /// # Errors
    /// There is no such level or category.
    fn set_log_level(&self, category: Option<&str>, level: &str) -> Result<(), String>;

    /// Opens log files anew, as they may have been moved away.
    ///
    /// # Errors
    /// A file cannot be opened.
    fn reopen_logs(&self) -> Result<(), String>;
}
