//! `scripts/package`: what is in the Debian package, and that it works where it is unpacked. The programs in
//! it are those of the tests, as they are built already; what is shipped is linked statically.
//!
//! Tools that a machine does not have (dpkg-deb, systemd-analyze, shellcheck) leave their part out, unless
//! `CI` is set and it is dpkg-deb.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The unpacked package; `None`, and a line that says so, without dpkg-deb.
fn unpacked() -> Option<(TempDir, PathBuf)> {
    if !has("dpkg-deb") {
        assert!(std::env::var_os("CI").is_none(), "no dpkg-deb");
        println!("left out: no dpkg-deb");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_leveret")).parent().unwrap();
    run(Command::new(format!("{ROOT}/scripts/package"))
        .arg("--binaries")
        .arg(binaries)
        .arg("--out")
        .arg(place.path())
        .args(["--only", "debian", "--compression", "none"]));
    let entries = fs::read_dir(place.path()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let package = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.expect("a package was made");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .args([&package, &place.path().join("tree")]));
    Some((place, package))
}

fn has(tool: &str) -> bool {
    let probe = Command::new(tool).arg("--version").output();
    probe.is_ok_and(|output| output.status.success())
}

/// Expects success: what was printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{complaints}");
    text + &complaints
}

/// One test, since making the package takes some seconds.
#[test]
fn the_debian_package_is_complete_and_its_broker_serves() {
    let Some((place, package)) = unpacked() else {
        return;
    };
    let tree = place.path().join("tree");
    it_has_what_belongs_to_a_service(&tree);
    its_manual_pages_are_whole(&tree);
    its_scripts_and_units_are_sound(&tree);
    its_broker_serves(&tree);
    if rustix::process::geteuid().is_root() {
        it_is_installed_and_purged(place.path(), &package);
    }
}

fn it_has_what_belongs_to_a_service(tree: &Path) {
    for (path, mode) in [
        ("usr/bin/leveret", 0o755),
        ("etc/leveret/leveret.conf", 0o640),
        ("etc/leveret/conf.d", 0o755),
        ("etc/logrotate.d/leveret", 0o644),
        ("usr/lib/systemd/system/leveret.service", 0o644),
        ("usr/lib/systemd/system/leveret.socket", 0o644),
        ("usr/lib/sysusers.d/leveret.conf", 0o644),
        ("usr/share/doc/leveret/copyright", 0o644),
        ("usr/share/man/man1/leveret.1.gz", 0o644),
        ("usr/share/man/man5/leveret.conf.5.gz", 0o644),
        ("DEBIAN/postinst", 0o755),
        ("DEBIAN/prerm", 0o755),
        ("DEBIAN/postrm", 0o755),
    ] {
        let found = fs::metadata(tree.join(path)).unwrap_or_else(|_| panic!("{path} is missing"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(
        control.contains(&version) && control.contains("Installed-Size: "),
        "{control}"
    );
    assert!(
        !control.contains("@VERSION@") && !control.contains("@SIZE@"),
        "{control}"
    );
    let conffiles = fs::read_to_string(tree.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(
        conffiles,
        "/etc/leveret/leveret.conf\n/etc/logrotate.d/leveret\n"
    );
    let unit = fs::read_to_string(tree.join("usr/lib/systemd/system/leveret.service")).unwrap();
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "User=leveret",
        "StateDirectoryMode=0700",
        "LimitNOFILE=262144",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.contains(line), "{line}");
    }
}

/// Every option of the program has its paragraph, and every key of the configuration.
fn its_manual_pages_are_whole(tree: &Path) {
    let page = |name: &str| {
        let path = tree.join("usr/share/man").join(name);
        run(Command::new("gzip").arg("-dc").arg(path)).replace("\\-", "-")
    };
    let help = run(Command::new(env!("CARGO_BIN_EXE_leveret")).arg("--help"));
    let of_program = page("man1/leveret.1.gz");
    let options: Vec<_> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .collect();
    assert!(options.len() > 8, "{help}");
    for option in options {
        assert!(of_program.contains(option), "{option}\n{of_program}");
    }
    let told = help.matches("\n    -").count() + help.matches("\n        --").count();
    assert_eq!(
        of_program.matches("\n.TP\n.B -").count(),
        told,
        "{of_program}"
    );
    let sample = fs::read_to_string(format!("{ROOT}/scripts/leveret.conf")).unwrap();
    let of_keys = page("man5/leveret.conf.5.gz");
    let keys = sample.lines().filter_map(|line| line.strip_prefix('#'));
    for key in keys.filter(|line| !line.starts_with(' ')) {
        let name = key.split(" = ").next().unwrap();
        assert!(of_keys.contains(&format!("\n.B {name} = ")), "{name}");
    }
}

fn its_scripts_and_units_are_sound(tree: &Path) {
    let scripts = ["postinst", "prerm", "postrm"].map(|name| tree.join("DEBIAN").join(name));
    for script in &scripts {
        run(Command::new("sh").arg("-n").arg(script));
    }
    if has("shellcheck") {
        let package = format!("{ROOT}/scripts/package");
        run(Command::new("shellcheck").args(&scripts).arg(package));
    }
    if has("systemd-analyze") {
        // The program is where the package was unpacked.
        let units = ["leveret.service", "leveret.socket"].map(|name| {
            let path = tree.join("usr/lib/systemd/system").join(name);
            let text = fs::read_to_string(&path).unwrap();
            let program = tree.join("usr/bin/leveret").display().to_string();
            fs::write(&path, text.replace("/usr/bin/leveret", &program)).unwrap();
            path
        });
        let complaints = run(Command::new("systemd-analyze").arg("verify").args(&units));
        assert!(!complaints.contains("leveret."), "{complaints}");
    }
}

/// With the packaged configuration, in a directory of its own.
fn its_broker_serves(tree: &Path) {
    let mut child = Command::new(tree.join("usr/bin/leveret"))
        .args(["--bind", "127.0.0.1", "--port", "0", "--config"])
        .arg(tree.join("etc/leveret/leveret.conf"))
        .env("LEVERET_DATA_DIR", tree.join("var/lib/leveret"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    let rest = ready.strip_prefix("ready amqp=").expect("it gets ready");
    let address = rest.split_whitespace().next().expect("an address");
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let mut frame_type = [0];
    socket.read_exact(&mut frame_type).unwrap();
    assert_eq!(frame_type, [1]);
    drop(socket);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let data = fs::metadata(tree.join("var/lib/leveret")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
}

/// Into a root of its own, in which nothing is started.
fn it_is_installed_and_purged(place: &Path, package: &Path) {
    let root = place.join("root");
    for folder in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/leveret",
        "etc",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    let dpkg = |arguments: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(&root);
        dpkg.args([
            "--force-script-chrootless",
            "--force-confold",
            "--log=/dev/null",
        ]);
        run(dpkg.args(arguments))
    };
    let package = package.to_str().unwrap();
    dpkg(&["--install", package]);
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("leveret:"));
    assert!(
        user.expect("a user is made").contains("/nologin"),
        "{users}"
    );
    let configuration = root.join("etc/leveret/leveret.conf");
    fs::write(&configuration, "heartbeat = 7\n").unwrap();
    dpkg(&["--install", package]);
    assert_eq!(
        fs::read_to_string(&configuration).unwrap(),
        "heartbeat = 7\n"
    );
    dpkg(&["--remove", "leveret"]);
    assert!(configuration.exists() && root.join("var/lib/leveret").exists());
    assert!(!root.join("usr/bin/leveret").exists());
    dpkg(&["--purge", "leveret"]);
    assert!(!root.join("etc/leveret").exists() && !root.join("var/lib/leveret").exists());
}
