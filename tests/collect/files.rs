//! `agent-metrics ingest` and `ingest_text()`: every good line is stored once, a bad one is kept apart with its place.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::{TURNS, json};
use crate::support::program::{fails, program, works};
use crate::support::{Db, db, login};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("am_{name}_{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| json(number) + "\n").collect()
}

fn turns(db: &Db) -> u64 {
    db.value(TURNS).unwrap().parse().unwrap()
}

#[test]
fn a_bad_line_is_kept_with_its_place_and_stops_nothing() {
    let db = db("ingest_bad_lines");
    let folder = Folder::new("ingest_bad_lines");
    let mut file = lines(0..2).into_bytes();
    for bad in [
        json(90).replace("\"chat\"", "\"ch\\u0000at\"").into_bytes(),
        json(91).replace("\"chat\"", "\"ch\\ud83dat\"").into_bytes(),
        json(92)[..400].to_owned().into_bytes(),
        json(93).replace("chat", "ch\u{1}at").into_bytes(),
        [b"{\"a\": \"\xff", json(94).as_bytes()].concat(),
        [b"{\"a\": \"", &vec![b'x'; 17 * 1024 * 1024][..], b"\"}"].concat(),
        b"my secret, which is no JSON".to_vec(),
        br#"{"gen_ai.prompt": "my secret"#.to_vec(),
        b"42".to_vec(),
        json(95).replace("\"10\"", "1e999999").into_bytes(),
    ] {
        file.extend_from_slice(&bad);
        file.push(b'\n');
    }
    file.extend_from_slice(lines(2..4).as_bytes());
    let path = folder.write("spool.jsonl", file);
    let said = works(db.url(), &["ingest", &path]);
    assert!(
        said.contains("4 stored, 0 there already, 0 incomplete, 10 in quarantine"),
        "{said}"
    );
    assert_eq!(turns(&db), 4);
    let places: Vec<String> = (3..=12).map(|line| format!("{path}:{line}")).collect();
    assert_eq!(
        db.lines(
            "SELECT q.payload ->> 'place' FROM agent_metrics.quarantined_events q
             ORDER BY substring(q.payload ->> 'place' FROM '\\d+$')::integer"
        ),
        places
    );
    assert_eq!(
        db.lines(
            "SELECT q.payload ->> 'place' FROM agent_metrics.quarantined_events q
             WHERE q.payload::text LIKE '%secret%' OR octet_length(q.payload::text) > 20000
                OR q.reason NOT LIKE 'no JSON: %' OR q.payload ->> 'bytes' IS NULL"
        ),
        Vec::<String>::new()
    );
    // a second run reads nothing twice
    let said = works(db.url(), &["ingest", &path]);
    assert!(said.contains("nothing new"), "{said}");
}

#[test]
fn files_of_every_form_are_read_once_and_what_has_grown_from_where_it_was() {
    let db = db("ingest_forms");
    let folder = Folder::new("ingest_forms");
    folder.write("a/lines.jsonl", lines(0..3));
    folder.write("a/list.json", format!("[\n{},\n{}\n]\n", json(3), json(4)));
    folder.write("a/one.json", json(5).replace(", ", ",\n  "));
    folder.write("b/packed.json.gz", gzip(&lines(6..8)));
    folder.write(
        "b/packed.ndjson.zst",
        zstd::encode_all(lines(8..10).as_bytes(), 3).unwrap(),
    );
    folder.write(
        "c/turns.csv",
        "agent_id;occurred_at;conversation_id;tools_called;cost_usd\n\
         bot;2026-01-05T10:00:00Z;c-10;\"[\"\"look_up\"\"]\";0.5\n\
         bot;2026-01-05T10:00:01Z;c-11;;\n",
    );
    folder.write("c/readme.txt", "not for us");
    let root = folder.0.to_str().unwrap().to_owned();
    let said = works(db.url(), &["ingest", &root]);
    assert_eq!(said.lines().count(), 6, "{said}");
    assert_eq!(turns(&db), 12, "{said}");
    assert_eq!(
        db.lines("SELECT e.tools_called ->> 0, e.cost_usd FROM agent_metrics.agent_events e WHERE e.cost_usd = 0.5"),
        ["look_up|0.5"]
    );
    let said = works(db.url(), &["ingest", &root]);
    assert_eq!(said.matches("nothing new").count(), 6, "{said}");
    // one grows, by a line that is not whole yet
    let grown = lines(0..3) + &lines(20..21) + &json(21)[..200];
    folder.write("a/lines.jsonl", grown);
    let said = works(db.url(), &["ingest", &root]);
    assert!(
        said.contains("1 stored, 0 there already, 0 incomplete, 1 in quarantine"),
        "{said}"
    );
    folder.write("a/lines.jsonl", lines(0..3) + &lines(20..22));
    let said = works(db.url(), &["ingest", &root]);
    assert!(
        said.contains("1 stored, 0 there already, 0 incomplete, 0 in quarantine"),
        "{said}"
    );
    // another file under the same name is read from its begin
    folder.write("a/lines.jsonl", lines(30..40));
    let said = works(db.url(), &["ingest", &root]);
    assert!(said.contains("10 stored"), "{said}");
    assert_eq!(turns(&db), 24);
}

#[test]
fn what_breaks_off_is_named_and_read_on_when_it_is_whole() {
    let db = db("ingest_broken");
    let folder = Folder::new("ingest_broken");
    let whole = gzip(&lines(0..3000));
    let path = folder.write("a.jsonl.gz", &whole[..whole.len() / 2]);
    folder.write("b.jsonl", lines(5000..5001));
    let root = folder.0.to_str().unwrap().to_owned();
    let (code, stdout, stderr) = program(db.url(), &["ingest", &root]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stderr.contains("a.jsonl.gz: it cannot be read from line"),
        "{stderr}"
    );
    assert!(stdout.contains("b.jsonl: 1 stored"), "{stdout}");
    let first = turns(&db);
    assert!((2..3000).contains(&first), "{first}");
    fs::write(&path, &whole).unwrap();
    let said = works(db.url(), &["ingest", &path]);
    assert!(
        said.contains(&format!("{} stored", 3001 - first)),
        "{first}: {said}"
    );
    assert_eq!(turns(&db), 3001);
}

#[test]
fn what_is_no_file_of_events_is_said() {
    let db = db("ingest_refused");
    let folder = Folder::new("ingest_refused");
    let root = folder.0.to_str().unwrap();
    let line = fails(db.url(), &["ingest", "/no/such/file"]);
    assert!(line.contains("name a file or a folder"), "{line}");
    let line = fails(db.url(), &["ingest", root]);
    assert!(line.contains("no file to read"), "{line}");
    let path = folder.write("log.csv", "when,who\n1,2\n");
    let line = fails(db.url(), &["ingest", &path]);
    assert!(line.contains("\"when\" is none of agent_events"), "{line}");
}

#[test]
fn a_writer_reads_files_in_and_nobody_else() {
    let db = db("ingest_files_writer");
    let folder = Folder::new("ingest_writer");
    let path = folder.write("a.jsonl", lines(0..2) + "no JSON\n");
    let url = |role: &str| {
        let (_, host) = db.url().split_once('@').unwrap();
        format!("postgresql://{role}:only-for-this-test@{host}")
    };
    let (stranger, _session) = login(&db, "stranger");
    fails(&url(&stranger), &["ingest", &path]);
    let (writer, _session) = login(&db, "writer");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{writer}', 'writer')"
    ));
    let said = works(&url(&writer), &["ingest", &path]);
    assert!(
        said.contains("2 stored, 0 there already, 0 incomplete, 1 in quarantine"),
        "{said}"
    );
}

#[test]
fn text_is_lines_or_a_document() {
    let db = db("ingest_text");
    let ingest = |text: &str| {
        let quoted = text.replace('\'', "''");
        db.lines(&format!(
            "SELECT * FROM agent_metrics.ingest_text('{quoted}')"
        ))
        .join(" ")
    };
    assert_eq!(ingest(&lines(0..3)), "3|0|0|0");
    assert_eq!(ingest(&json(3).replace(", ", ",\n")), "1|0|0|0");
    assert_eq!(ingest(&format!("[{}, {}]", json(4), json(0))), "1|1|0|0");
    let bad = json(9).replace("\"chat\"", "\"ch\\u0000at\"");
    assert_eq!(
        ingest(&format!("{}\n\n{bad}\r\n{}\nmy secret", json(5), json(6))),
        "2|0|2|0"
    );
    assert_eq!(
        db.lines("SELECT q.payload ->> 'place' FROM agent_metrics.quarantined_events q ORDER BY 1"),
        ["text:3", "text:5"]
    );
    let secrets =
        "SELECT count(*) FROM agent_metrics.quarantined_events q WHERE q::text LIKE '%secret%'";
    assert_eq!(db.value(secrets).unwrap(), "0");
    assert_eq!(ingest(""), "0|0|0|0");
    assert_eq!(ingest("5"), "0|0|1|0");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.ingest_text(NULL)"),
        ["0|0|0|0"]
    );
    assert_eq!(turns(&db), 7);
}
