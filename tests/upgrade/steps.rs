//! Steps of setup(): which are made, in which order, and what of them comes back after a dump without rows.

use super::*;

/// Steps that say in a table of their own that they were run, and by how many before them.
fn steps(numbers: &[i32]) -> Vec<(String, String)> {
    let step = |number: &i32| {
        let text = format!(
            "CREATE TABLE IF NOT EXISTS public.done (step integer);
             INSERT INTO public.done VALUES ({number});"
        );
        (format!("steps/{number}_note.sql"), text)
    };
    numbers.iter().map(step).collect()
}

fn with_steps(numbers: &[i32]) -> Sources {
    let steps = steps(numbers);
    let steps: Vec<(&str, String)> = steps
        .iter()
        .map(|(path, text)| (&**path, text.clone()))
        .collect();
    let mut sources = Sources::current();
    sources.0.retain(|script| script.kind != "member");
    sources.with_steps(&steps)
}

#[test]
fn setup_makes_the_steps_that_are_missing_in_their_order_and_no_other() {
    let db = db("upgrade_steps");
    let first = db.number("SELECT max(number) FROM agent_metrics_internal.migrations") as i32;
    let numbers: Vec<i32> = (first + 1..first + 4).collect();
    stand_in(&db, VERSION, &with_steps(&numbers[..2]));
    for said in ["2 migrations applied now", "0 migrations applied now"] {
        assert!(setup(&db).contains(said));
        assert_eq!(
            db.lines("SELECT step FROM public.done"),
            numbers[..2].iter().map(i32::to_string).collect::<Vec<_>>()
        );
    }
    stand_in(&db, VERSION, &with_steps(&numbers));
    assert!(setup(&db).contains("1 migrations applied now"));
    assert_eq!(
        db.lines("SELECT step FROM public.done"),
        numbers.iter().map(i32::to_string).collect::<Vec<_>>()
    );
    assert_eq!(
        db.value("SELECT obj_description('agent_metrics_internal.migrations'::regclass)")
            .unwrap(),
        format!(
            "Migrations that setup() of version {VERSION} has applied: 1 to {}.",
            numbers[2]
        )
    );
    // one that fails leaves nothing of itself, and nothing of the setup() that ran it
    let mut bad = with_steps(&[numbers[0], numbers[1], numbers[2], numbers[2] + 1]);
    bad.0
        .iter_mut()
        .rfind(|script| script.kind == "step")
        .unwrap()
        .text
        .push_str("SELECT 1 / 0;");
    stand_in(&db, VERSION, &bad);
    assert_eq!(db.error("SELECT agent_metrics.setup()").sqlstate, "22012");
    assert_eq!(db.number("SELECT count(*) FROM public.done"), 3.0);
    library(&db);
}

#[test]
fn rows_of_a_step_come_back_after_a_dump_without_rows_and_those_of_a_later_step_wait_for_it() {
    let db = db("upgrade_rows");
    let first = db.number("SELECT max(number) FROM agent_metrics_internal.migrations") as i32;
    let insert = |label: &str| {
        format!(
            "INSERT INTO agent_metrics.outcomes (label) VALUES ('{label}')\nON CONFLICT DO NOTHING;\n"
        )
    };
    let texts = [
        (format!("steps/{}_old.sql", first + 1), insert("step_old")),
        (
            format!("steps/{}_new.sql", first + 2),
            format!(
                "ALTER TABLE agent_metrics.outcomes ADD COLUMN extra text;\n{}",
                insert("step_new")
            ),
        ),
    ];
    let version_of = |count: usize| {
        let mut sources = Sources::current();
        sources.0.retain(|script| script.kind != "member");
        let steps: Vec<(&str, String)> = texts[..count]
            .iter()
            .map(|(path, text)| (&**path, text.clone()))
            .collect();
        sources.with_steps(&steps)
    };
    stand_in(&db, VERSION, &version_of(1));
    setup(&db);
    // each statement is of one table: a row that was deleted from another one stays away
    assert_eq!(
        db.lines("SELECT relation FROM agent_metrics_internal.shipped_rows() WHERE statement LIKE '%;%INSERT INTO%'"),
        [""; 0]
    );
    // what a dump without rows leaves: tables, and the comment that says how far they came
    db.exec("TRUNCATE agent_metrics_internal.migrations, agent_metrics.outcomes, agent_metrics.settings");
    stand_in(&db, VERSION, &version_of(2));
    let said = setup(&db);
    assert!(
        said.contains("1 migrations applied now") && said.contains("are back"),
        "{said}"
    );
    assert_eq!(
        db.lines("SELECT label FROM agent_metrics.outcomes WHERE label LIKE 'step%' OR label = 'resolved' ORDER BY 1"),
        ["resolved", "step_new", "step_old"]
    );
    library(&db);
}

#[test]
fn an_older_version_refuses_the_tables_of_a_newer_one() {
    let db = db("upgrade_newer");
    let known = db.number("SELECT max(number) FROM agent_metrics_internal.migrations");
    db.exec(
        "INSERT INTO agent_metrics_internal.migrations (number) VALUES (1001);
         COMMENT ON TABLE agent_metrics_internal.migrations
             IS 'Migrations that setup() of version 7.1.0 has applied: 1 to 1001.'",
    );
    let error = db.error("SELECT agent_metrics.setup()");
    assert_eq!(error.sqlstate, "55000", "{error}");
    assert_eq!(
        error.message,
        format!(
            "the tables of agent_metrics are at step 1001, and version {VERSION} knows steps 1 to {known}"
        )
    );
    assert!(error.detail.contains("7.1.0"), "{error}");
    assert!(
        error.hint.contains("7.1.0 or newer")
            && error.hint.contains("ALTER EXTENSION agent_metrics UPDATE"),
        "{error}"
    );
    // also when the rows did not come along, or the comment
    db.exec("TRUNCATE agent_metrics_internal.migrations");
    assert_eq!(
        db.error("SELECT agent_metrics.setup()").message,
        error.message
    );
    db.exec(
        "INSERT INTO agent_metrics_internal.migrations (number) VALUES (1001);
         COMMENT ON TABLE agent_metrics_internal.migrations IS NULL",
    );
    let error = db.error("SELECT agent_metrics.setup()");
    assert!(
        error.sqlstate == "55000" && error.detail.contains("version unknown"),
        "{error}"
    );
    // nothing was touched
    assert_eq!(
        db.value("SELECT obj_description('agent_metrics_internal.migrations'::regclass)"),
        None
    );
}
