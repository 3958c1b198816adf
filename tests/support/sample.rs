//! The generated data set in `tests/data/sample`: invented agents, users and cases, the same bytes for one seed on
//! every machine. Its files have the columns of the real data sets, so that tests treat both alike.

use std::fmt::Write;

/// Where the generator begins. Another seed is another sample.
const SEED: u64 = 20_260_105;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// SplitMix64. A few lines of our own, so that no new version of a crate changes the files.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len() as u64) as usize]
    }

    /// Milliseconds with a long tail, in quarters.
    fn latency(&mut self, usual: u64) -> f64 {
        let mut quarters = usual + self.below(4 * usual);
        while self.one_in(4) {
            quarters *= 2;
        }
        quarters as f64 / 4.0
    }
}

/// Milliseconds since 5 January 2026 as a time in UTC.
fn moment(milliseconds: u64) -> String {
    let (day, rest) = (5 + milliseconds / DAY, milliseconds % DAY);
    format!(
        "2026-01-{day:02}T{:02}:{:02}:{:02}.{:03}+00:00",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000
    )
}

/// Micro-dollars as dollars.
fn dollars(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The files of the sample, with their names.
pub fn files() -> [(&'static str, String); 4] {
    let mut dice = Dice(SEED);
    let (turns, events) = conversations(&mut dice);
    [
        ("agent_events.csv", turns),
        ("business_events.csv", events),
        ("latencies.csv", latencies(&mut dice)),
        ("eval_results.csv", evaluations(&mut dice)),
    ]
}

/// Turns of five days and what the business says of them. Some conversations cross midnight; some have no label, no
/// user, no latency, no cost.
fn conversations(dice: &mut Dice) -> (String, String) {
    let mut turns = String::from(
        "event_id,event_ts,agent,agent_version,conversation_id,turn_index,user_id,intent_classified,\
         tools_called,latency_ms,token_usage_input,token_usage_output,cost_usd,outcome_label,business_event_id\n",
    );
    let mut events = String::from(
        "business_event_id,event_type,occurred_at,conversation_id,customer_id,amount,detail\n",
    );
    for n in 0..150 {
        let shop = n % 3 == 0;
        let agent = if shop { "sample-shop" } else { "sample-desk" };
        // the last day ends before midnight: no day has only the end of a conversation
        let day = dice.below(5);
        let mut at = day * DAY + dice.below(if day < 4 { DAY } else { DAY - 7_200_000 });
        if day < 4 && dice.one_in(15) {
            at = (day + 1) * DAY - 30_000;
        }
        let version = if at < 2 * DAY + DAY / 2 { "v1" } else { "v2" };
        let user = if dice.one_in(10) {
            String::new()
        } else {
            format!("user-{}", dice.below(40))
        };
        let label = match dice.below(20) {
            0..=11 => "success",
            12..=14 => "failure",
            15..=16 => "escalated",
            17 => "abandoned",
            _ => "",
        };
        let sold = shop && label == "success";
        let length = 1 + dice.below(4);
        for index in 0..length {
            let last = index + 1 == length;
            let tools: Vec<String> = (0..dice.below(3))
                .map(|_| {
                    dice.pick(&["search", "read_order", "write_order", "refund", "calendar"])
                        .to_owned()
                })
                .collect();
            let latency = if dice.one_in(20) {
                String::new()
            } else {
                dice.latency(if shop { 900 } else { 2500 }).to_string()
            };
            let tokens = (!dice.one_in(25)).then(|| (200 + dice.below(3000), 20 + dice.below(600)));
            let usage = tokens.map_or_else(
                || ",,".to_owned(),
                |(input, output)| format!("{input},{output},{}", dollars(input * 3 + output * 15)),
            );
            let _ = writeln!(
                turns,
                "sample-{n}-{index},{},{agent},{version},sample-{n},{index},{user},{},\"{}\",{latency},{usage},{},{}",
                moment(at),
                dice.pick(&["order_status", "return", "price", "other"]),
                format!("{tools:?}").replace('"', "\"\""),
                if last { label } else { "" },
                if last && sold {
                    format!("sale-{n}")
                } else {
                    String::new()
                },
            );
            at += 15_000 + dice.below(180_000);
        }
        let mut event = |id: String, kind: &str, at: u64, cents: Option<u64>, detail: &str| {
            let amount = cents
                .map(|cents| format!("{}.{:02}", cents / 100, cents % 100))
                .unwrap_or_default();
            let _ = writeln!(
                events,
                "{id},{kind},{},sample-{n},{user},{amount},{detail}",
                moment(at)
            );
        };
        if sold {
            let cents = 500 + dice.below(20_000);
            event(format!("sale-{n}"), "charge", at, Some(cents), "card");
            if dice.one_in(8) {
                let later = at + 3_600_000;
                event(format!("back-{n}"), "refund", later, Some(cents), "");
            }
        }
        if label == "escalated" || dice.one_in(12) {
            event(format!("hand-{n}"), "human_touch", at, None, "");
        }
    }
    (turns, events)
}

/// Requests of three services: one steady, one with two humps, one with a long tail.
fn latencies(dice: &mut Dice) -> String {
    let mut file = String::from(
        "ts,service,agent_version,request_id,latency_ms,ttft_ms,token_usage_input,token_usage_output,ok\n",
    );
    for n in 0..1200 {
        let (service, latency) = match n % 3 {
            0 => ("steady", 400.0 + dice.below(400) as f64 / 4.0),
            1 if dice.one_in(3) => ("humps", 3000.0 + dice.below(4000) as f64 / 4.0),
            1 => ("humps", 80.0 + dice.below(200) as f64 / 4.0),
            _ => ("tail", dice.latency(300)),
        };
        let ok = !dice.one_in(20);
        let _ = writeln!(
            file,
            ",{service},v1,{n},{latency},{},{},{},{}",
            (latency / 2.0).floor() / 2.0,
            100 + dice.below(2000),
            10 + dice.below(400),
            u8::from(ok)
        );
    }
    file
}

/// Three runs of one set of 200 cases: as good as each other but for the last, which is worse.
fn evaluations(dice: &mut Dice) -> String {
    let mut file = String::from(
        "eval_set,run_id,run_at,agent,agent_version,case_id,category,passed,latency_ms,\
         token_usage_input,token_usage_output,cost_usd\n",
    );
    for (run, failures) in [(1, 14), (2, 15), (3, 26)] {
        for case in 0..200 {
            // what is hard is hard in each run
            let hard = if case % 5 == 0 { 3 } else { 1 };
            let passed = dice.below(100) >= failures * hard;
            let (input, output) = (300 + dice.below(900), 30 + dice.below(200));
            let _ = writeln!(
                file,
                "sample-200,run-{run},2026-01-{:02},sample-desk,v{run},case-{case:03},{},{},{},{input},{output},{}",
                10 + run,
                ["orders", "returns", "prices", "other"][case % 4],
                u8::from(passed),
                dice.latency(1500),
                dollars(input * 3 + output * 15)
            );
        }
    }
    file
}
