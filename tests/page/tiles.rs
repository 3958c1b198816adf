//! The page: its numbers are the views', it asks nothing of the outside, and it trusts no text.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use agent_metrics::program::connect::config::Server;
use agent_metrics::program::{format, page, shutdown::Stop};

use crate::evals::audits::{frozen, run};
use crate::support::{Db, db, server};

/// An agent whose every text tries to be markup.
const NASTY: &str = "<script>alert(\"x\")</script>&'/\u{e9}?#%";

/// The page of a database, served until dropped.
struct Served {
    address: SocketAddr,
    _stop: tokio::sync::watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    fn new(url: &str) -> Self {
        let server = Server::read(Some(url), |_| None).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (sender, stop) = Stop::new();
        let listener = runtime
            .block_on(page::listen(&server, "127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(page::serve(server, listener, stop));
        Self {
            address,
            _stop: sender,
            _runtime: runtime,
        }
    }

    /// Status, head and body of a page.
    fn get(&self, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            head.to_lowercase(),
            body.to_owned(),
        )
    }

    fn page(&self, path: &str) -> String {
        let (status, head, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {head}\n{body}");
        body
    }
}

/// Three AI agents and a human team, sixty days of conversations, refreshed.
fn company(name: &str) -> Db {
    let db = db(name);
    let nasty = NASTY.replace('\'', "''");
    db.exec(&format!(
        "SELECT agent_metrics.register_agent(
             'bot', 'support', 'Head of Support', display_name => 'Bot', vertical => 'SaaS support');
         SELECT agent_metrics.register_agent('seller', 'sales', 'Head of Sales');
         SELECT agent_metrics.register_agent('{nasty}', 'ops', '{nasty}', display_name => '{nasty}');
         SELECT agent_metrics.register_agent(
             'team', 'support', 'Head of Support', display_name => 'The humans', actor => 'human');
         INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('{nasty}', false);
         INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, latency_ms, token_usage_input, token_usage_output,
              cost_usd, outcome_label)
         SELECT a.id, date_trunc('day', now()) - make_interval(days => d.day) + make_interval(mins => n.n),
                a.id || '-' || d.day || '-' || n.n, 100 + n.n, 1000, 100, 0.01 * (1 + n.n % 7),
                CASE WHEN n.n % 40 = 0 THEN NULL WHEN n.n % 11 = 0 THEN 'failure' WHEN n.n % 13 = 0 THEN '{nasty}'
                     ELSE 'success' END
         FROM unnest(ARRAY['bot', 'seller', '{nasty}', 'team']) AS a (id), generate_series(1, 60) AS d (day),
              generate_series(1, 30) AS n (n)
         WHERE NOT (a.id = 'seller' AND d.day = 9)",
    ));
    // statements sent together are one transaction, whose rows a refresh inside it does not count
    db.exec("SELECT agent_metrics.refresh()");
    db
}

/// The attributes of each tile, by agent and metric.
fn tiles(html: &str) -> BTreeMap<(String, String), BTreeMap<String, String>> {
    let mut tiles = BTreeMap::new();
    for article in html.split("<article ").skip(1) {
        let (head, _) = article.split_once('>').unwrap();
        let attributes: BTreeMap<String, String> = head
            .split("\" ")
            .map(|pair| pair.split_once("=\"").unwrap())
            .map(|(name, value)| (name.to_owned(), unescaped(value.trim_end_matches('"'))))
            .collect();
        let key = (
            attributes["data-agent"].clone(),
            attributes["data-metric"].clone(),
        );
        assert!(
            tiles.insert(key, attributes).is_none(),
            "a tile is there twice"
        );
    }
    tiles
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Where the links of a page lead.
fn links(html: &str) -> Vec<String> {
    html.split("href=\"")
        .skip(1)
        .map(|rest| unescaped(rest.split('"').next().unwrap()))
        .collect()
}

#[test]
fn each_tile_shows_the_number_of_the_view() {
    let db = company("page_numbers");
    let page = Served::new(db.url()).page("/");
    let shown = tiles(&page);
    let view = db.rows(
        "SELECT agent_id, metric, value_30d, verdict, unit, threshold, direction, owner
         FROM agent_kpi.cfo_tiles",
    );
    assert_eq!(shown.len(), 12, "three AI agents with four tiles");
    assert_eq!(view.len(), 12);
    assert!(
        view.iter().filter(|row| row[2].is_some()).count() >= 8,
        "most tiles have a value"
    );
    for row in view {
        let text = |i: usize| row[i].clone().unwrap_or_default();
        let tile = &shown[&(text(0), text(1))];
        assert_eq!(tile["data-value"], text(2), "{} {}", text(0), text(1));
        assert_eq!(tile["data-verdict"], text(3), "{} {}", text(0), text(1));
        let start = format!(
            "data-agent=\"{}\" data-metric=\"{}\"",
            escaped(&text(0)),
            text(1)
        );
        let (_, rest) = page.split_once(&start).unwrap();
        let (card, _) = rest.split_once("</article>").unwrap();
        let number = |i: usize| row[i].as_deref().map(|value| value.parse::<f64>().unwrap());
        for expected in [
            format::value(number(2), &text(4)),
            format::verdict(&text(3)).to_owned(),
            format::threshold(number(5), &text(6), &text(4)),
            escaped(&text(7)),
        ] {
            assert!(
                card.contains(&expected),
                "{expected} is not in the tile {} {}: {card}",
                text(0),
                text(1)
            );
        }
    }
}

#[test]
fn a_spark_has_one_line_for_each_run_of_days() {
    let db = company("page_sparks");
    let page = Served::new(db.url()).page("/");
    let tile = |agent: &str| {
        let (_, rest) = page
            .split_once(&format!(
                "data-agent=\"{agent}\" data-metric=\"task_success_rate\""
            ))
            .unwrap();
        rest.split_once("</article>").unwrap().0
    };
    assert_eq!(tile("bot").matches("<path class=\"days\"").count(), 1);
    assert_eq!(
        tile("seller").matches("<path class=\"days\"").count(),
        2,
        "the missing day is a gap"
    );
    assert_eq!(
        tile("bot").matches("<path class=\"line\"").count(),
        1,
        "the threshold"
    );
    assert!(tile("seller").contains("30 days, 1 without a value"));
}

#[test]
fn humans_are_not_on_the_page() {
    let db = company("page_humans");
    assert_eq!(
        db.value("SELECT count(*) FROM agent_kpi.freshness WHERE agent_id = 'team'")
            .as_deref(),
        Some("1")
    );
    let served = Served::new(db.url());
    assert!(!served.page("/").contains("The humans"));
    assert_eq!(served.get("/agents/team/task_success_rate").0, 404);
}

#[test]
fn a_link_leads_to_the_failing_conversations() {
    let db = company("page_failing");
    let served = Served::new(db.url());
    let front = served.page("/");
    let links: Vec<String> = links(&front)
        .into_iter()
        .filter(|link| link.starts_with("/agents/"))
        .collect();
    assert_eq!(links.len(), 12);
    let mut seen = 0;
    for link in links {
        let page = served.page(&link);
        let article = front
            .split("<article ")
            .find(|article| article.contains(&format!("href=\"{link}\"")))
            .unwrap();
        let key = tiles(&format!("<article {article}"))
            .into_keys()
            .next()
            .unwrap();
        let expected = db.lines(&format!(
            "SELECT conversation_id FROM agent_kpi.failing_conversations WHERE agent_id = '{}' AND metric = '{}'
             ORDER BY started_at DESC, conversation_id LIMIT 200",
            key.0.replace('\'', "''"),
            key.1
        ));
        let listed: Vec<String> = page
            .split("data-conversation=\"")
            .skip(1)
            .map(|rest| unescaped(rest.split('"').next().unwrap()))
            .collect();
        assert_eq!(listed, expected, "{link}");
        seen += listed.len();
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn nothing_comes_from_outside() {
    let db = company("page_outside");
    let served = Served::new(db.url());
    let first = links(&served.page("/"))
        .into_iter()
        .find(|link| link.starts_with("/agents/"))
        .unwrap();
    for path in ["/", first.as_str()] {
        let (_, head, body) = served.get(path);
        assert!(
            head.contains("content-security-policy: default-src 'none'"),
            "{head}"
        );
        for foreign in [
            "http:", "https:", "//", "<script", "<img", "<iframe", "src=", "url(", "@import",
        ] {
            assert!(
                !body.to_lowercase().contains(foreign),
                "{foreign} is in {path}"
            );
        }
        for link in links(&body) {
            assert!(
                link.starts_with('/') || link.starts_with('#') || link == "data:,",
                "{link}"
            );
        }
    }
}

#[test]
fn every_text_is_escaped() {
    let db = company("page_escaping");
    let served = Served::new(db.url());
    let front = served.page("/");
    assert!(front.contains(&format!("<h2>{}</h2>", escaped(NASTY))));
    let link = links(&front)
        .into_iter()
        .find(|link| link.contains("script") && link.ends_with("task_success_rate"))
        .unwrap();
    let failing = served.page(&link);
    assert!(
        failing.matches(&escaped(NASTY)).count() > 10,
        "agent, owner, conversations and outcomes"
    );
    for page in [front, failing] {
        assert!(!page.contains("<script"), "markup got through");
    }
}

#[test]
fn what_is_not_there_is_404() {
    let db = company("page_404");
    let served = Served::new(db.url());
    for path in [
        "/nowhere",
        "/agents/nobody/task_success_rate",
        "/agents/bot/nonsense",
        "/agents/bot",
    ] {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
}

#[test]
fn a_reader_can_serve_the_page() {
    let db = company("page_reader");
    let role = format!("page_reader_{}", std::process::id());
    db.exec(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'reads';
         SELECT agent_metrics.grant_access('{role}', 'reader')"
    ));
    let (_, place) = db.url().split_once('@').unwrap();
    let served = Served::new(&format!("postgresql://{role}:reads@{place}"));
    assert_eq!(tiles(&served.page("/")).len(), 12);
    assert!(
        served
            .page("/agents/bot/task_success_rate")
            .contains("data-conversation")
    );
    drop(served);
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn an_unreachable_database_is_said_and_a_reachable_one_found_again() {
    let db = company("page_outage");
    let served = Served::new(db.url());
    assert_eq!(served.get("/healthz").0, 200);
    let other = crate::support::Session::open(server());
    let allow = |allowed: bool| {
        other.exec(&format!(
            "ALTER DATABASE \"{}\" ALLOW_CONNECTIONS {allowed}",
            db.name()
        ))
    };
    allow(false);
    assert_eq!(served.get("/healthz").0, 503);
    let (status, _, body) = served.get("/");
    assert_eq!(status, 503);
    assert!(
        !body.contains(db.name()) && !body.contains("127.0.0.1"),
        "a visitor need not know where the database is"
    );
    allow(true);
    assert_eq!(served.get("/healthz").0, 200);
    assert_eq!(served.get("/").0, 200);
}

#[test]
fn a_database_without_agents_says_how_to_begin() {
    let db = db("page_empty");
    assert!(Served::new(db.url()).page("/").contains("register_agent"));
}

#[test]
fn open_alerts_and_the_cases_that_broke_are_shown() {
    let db = frozen("page_drift");
    run(&db, "r1", "'2026-03-02 06:00+00'", "n > 16");
    run(&db, "r2", "'2026-03-09 06:00+00'", "n > 30");
    let nasty = NASTY.replace('\'', "''");
    db.exec("SELECT agent_metrics.run_audits('2026-03-10 06:00+00')");
    db.exec(&format!(
        "SELECT agent_metrics_internal.enqueue_alert(
             'breach', '{nasty}', '{nasty}',
             jsonb_build_object('summary', '{nasty}'::text, 'metric', '{nasty}'::text), '{nasty}')"
    ));
    let served = Served::new(db.url());
    let overview = served.page("/");
    assert!(
        overview.contains("nobody yet")
            && overview.contains("href=\"/agents/bot/eval_success_rate\""),
        "{overview}"
    );
    assert!(!overview.contains("<script"), "{overview}");
    let page = served.page("/agents/bot/eval_success_rate");
    let broken = db.lines("SELECT case_id FROM agent_kpi.drift_cases WHERE what = 'broken'");
    assert_eq!(broken.len(), 14);
    for case in broken {
        assert!(page.contains(&format!("data-case=\"{case}\"")), "{case}");
    }
    assert!(
        page.contains("85.0%") && page.contains("-7.0 points") && page.contains("alert"),
        "{page}"
    );
    db.exec(
        "SELECT agent_metrics.acknowledge_alert(alert_id, 'Head of Support') FROM agent_kpi.alerts",
    );
    assert!(!served.page("/").contains("nobody yet"));
}
