//! TLS as libpq means it: certificates that psql takes are taken, and what it refuses is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cluster::Cluster;
use crate::support::majors::has_tls;
use crate::support::program::{fails, works};

fn ran(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A key and a certificate that signs itself, as PostgreSQL's manual makes them.
fn signs_itself(folder: &Path, name: &str, more: &[&str]) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let arguments = [
        "req",
        "-new",
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    ran("openssl", &[&arguments[..], more].concat(), folder);
}

/// One that signs itself and was valid in January 2020.
fn ran_out(folder: &Path, name: &str) {
    let (key, request, certificate) = (
        format!("{name}.key"),
        format!("{name}.csr"),
        format!("{name}.crt"),
    );
    let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nnew_certs_dir = .\n\
                    serial = serial\ndefault_md = sha256\npolicy = p\nx509_extensions = e\n[p]\n\
                    commonName = supplied\n[e]\nbasicConstraints = CA:TRUE\n";
    for (file, text) in [("ca.cnf", settings), ("index", ""), ("serial", "01\n")] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    ran(
        "openssl",
        &[
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-subj",
            "/CN=localhost",
            "-keyout",
            &key,
            "-out",
            &request,
        ],
        folder,
    );
    ran(
        "openssl",
        &[
            "ca",
            "-batch",
            "-selfsign",
            "-notext",
            "-config",
            "ca.cnf",
            "-keyfile",
            &key,
            "-in",
            &request,
            "-out",
            &certificate,
            "-startdate",
            "20200101000000Z",
            "-enddate",
            "20200201000000Z",
        ],
        folder,
    );
}

/// A cluster that has TLS, and where certificates are made.
struct Secure {
    cluster: Cluster,
    folder: PathBuf,
}

impl Secure {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("am_{name}_certs_{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let cluster = Cluster::start(name);
        cluster
            .session("postgres")
            .exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
        Self { cluster, folder }
    }

    /// Has the server show this certificate.
    fn shows(&self, name: &str) {
        let data = self.cluster.data();
        for (from, to) in [("key", "server.key"), ("crt", "server.crt")] {
            let to = Path::new(&data).join(to);
            let _ = std::fs::remove_file(&to);
            std::fs::copy(self.folder.join(format!("{name}.{from}")), &to).unwrap();
            ran("chmod", &["600", to.to_str().unwrap()], &self.folder);
            ran(
                "chown",
                &["--reference", &data, to.to_str().unwrap()],
                &self.folder,
            );
        }
        let session = self.cluster.session("postgres");
        session.exec("ALTER SYSTEM SET ssl = on");
        session.exec("SELECT pg_reload_conf()");
        // A session that began after the reload shows the new certificate.
        session.until("SELECT pg_conf_load_time() > backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()");
        session.until("SELECT current_setting('ssl') = 'on'");
    }

    /// A URL by host name, for sslmode and a root certificate of the folder.
    fn url(&self, host: &str, mode: &str, root: &str) -> String {
        let url = self.cluster.url("postgres").replace("127.0.0.1", host);
        format!(
            "{url}?sslmode={mode}&sslrootcert={}",
            self.folder.join(root).display()
        )
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_certificate_that_signs_itself_is_taken_when_it_is_the_given_root() {
    if !has_tls() {
        return;
    }
    let secure = Secure::new("tls_own");
    signs_itself(
        &secure.folder,
        "named",
        &[
            "-days",
            "30",
            "-subj",
            "/CN=x",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
    );
    // as the manual has it: the host's name is the common name and nothing else
    signs_itself(
        &secure.folder,
        "common",
        &["-days", "30", "-subj", "/CN=localhost"],
    );
    signs_itself(
        &secure.folder,
        "other",
        &["-days", "30", "-subj", "/CN=localhost"],
    );
    ran_out(&secure.folder, "old");

    secure.shows("named");
    for host in ["localhost", "127.0.0.1"] {
        for mode in ["verify-full", "verify-ca", "require"] {
            works(&secure.url(host, mode, "named.crt"), &["status"]);
        }
    }
    for mode in ["verify-full", "verify-ca", "require"] {
        let error = fails(&secure.url("localhost", mode, "other.crt"), &["status"]);
        assert!(error.contains("certificate"), "{error}");
        let error = fails(&secure.url("localhost", mode, "missing.crt"), &["status"]);
        assert!(error.contains("missing.crt"), "{error}");
    }

    secure.shows("common");
    works(
        &secure.url("localhost", "verify-full", "common.crt"),
        &["status"],
    );
    works(
        &secure.url("127.0.0.1", "verify-ca", "common.crt"),
        &["status"],
    );
    let error = fails(
        &secure.url("127.0.0.1", "verify-full", "common.crt"),
        &["status"],
    );
    assert!(error.contains("certificate"), "{error}");

    secure.shows("old");
    for mode in ["verify-full", "verify-ca", "require"] {
        let error = fails(&secure.url("localhost", mode, "old.crt"), &["status"]);
        assert!(error.contains("xpired"), "{error}");
    }
}

#[test]
fn a_chain_is_checked_against_the_file_that_was_given() {
    if !has_tls() {
        return;
    }
    let secure = Secure::new("tls_chain");
    let folder = &secure.folder;
    signs_itself(folder, "root", &["-days", "30", "-subj", "/CN=root"]);
    std::fs::write(
        folder.join("server.ext"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    ran(
        "openssl",
        &[
            "req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=x", "-keyout",
            "leaf.key", "-out", "leaf.csr",
        ],
        folder,
    );
    ran(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-days",
            "30",
            "-CA",
            "root.crt",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-extfile",
            "server.ext",
            "-out",
            "leaf.crt",
        ],
        folder,
    );
    secure.shows("leaf");
    for mode in ["verify-full", "verify-ca", "require"] {
        works(&secure.url("localhost", mode, "root.crt"), &["status"]);
        // what the server shows is no root, as it is none to libpq
        fails(&secure.url("localhost", mode, "leaf.crt"), &["status"]);
    }
    works(
        &secure.url("127.0.0.1", "verify-ca", "root.crt"),
        &["status"],
    );
    let error = fails(
        &secure.url("127.0.0.1", "verify-full", "root.crt"),
        &["status"],
    );
    assert!(error.contains("certificate"), "{error}");
    // the machine's roots vouch for nobody by themselves
    let bare = secure.cluster.url("postgres");
    for mode in ["require", "verify-ca", "prefer"] {
        let error = fails(
            &format!("{bare}?sslmode={mode}&sslrootcert=system"),
            &["status"],
        );
        assert!(error.contains("too weak"), "{error}");
    }
    let error = fails(&format!("{bare}?sslrootcert=system"), &["status"]);
    assert!(error.contains("certificate"), "{error}");
    works(&format!("{bare}?sslmode=require"), &["status"]);
}
