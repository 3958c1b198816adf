//! No prompt and no answer is ever stored: in no table, whatever the way in.

use super::cases::cases_db;
use super::cases::ingest;
use crate::events::ingest::{otlp, span};

/// Every table of ours that has a text or a JSON with this in it.
const FIND: &str = "
    CREATE FUNCTION public.holding(words text) RETURNS SETOF text LANGUAGE plpgsql AS $f$
    DECLARE
        one record;
        found boolean;
    BEGIN
        FOR one IN SELECT c.oid::regclass AS name FROM pg_class c
                   WHERE c.relkind = 'r' AND c.relnamespace IN (SELECT n.oid FROM pg_namespace n
                       WHERE n.nspname IN ('agent_metrics', 'agent_metrics_internal')) LOOP
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s t WHERE t::text ILIKE $1)', one.name)
            INTO found USING '%' || words || '%';
            IF found THEN
                RETURN NEXT one.name::text;
            END IF;
        END LOOP;
    END $f$";

#[test]
fn what_was_said_is_in_no_table() {
    let db = cases_db("traces_content");
    db.exec(FIND);
    let said = "my card is 4111";
    let text = format!("\"{said}\"");
    let messages = format!("\"[{{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"{said}\\\"}}]\"");
    let mut attributes = vec![
        ("gen_ai.operation.name", "\"chat\""),
        ("gen_ai.agent.name", "\"support-bot\""),
        ("gen_ai.conversation.id", "\"c-1\""),
        ("gen_ai.usage.input_tokens", "10"),
    ];
    for name in [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "llm.input_messages.0.message.content",
        "input.value",
        "output.value",
        "langfuse.observation.input",
        "langfuse.observation.output",
        "ai.prompt",
        "ai.response.text",
        "ai.toolCall.args",
        "traceloop.entity.input",
        "app.question",
        "user_prompt",
    ] {
        attributes.push((
            name,
            if name.contains("messages") {
                &messages
            } else {
                &text
            },
        ));
    }
    let whole = span("one", "", 0, &attributes);
    // a turn, one that waits, one that is refused, and a tool
    let waits = whole
        .replace("\"gen_ai.conversation.id\"", "\"nothing\"")
        .replace("\"one\"", "\"two\"");
    let refused = whole.replace("\"spanId\": \"one\"", "\"spanId\": \"\"");
    let tool = whole
        .replace("\"chat\"", "\"execute_tool\"")
        .replace("\"one\"", "\"three\"");
    assert_eq!(
        ingest(&db, &otlp(&[whole, waits, refused, tool])),
        "1|0|1|1"
    );
    ingest(
        &db,
        &format!(
            r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [
                {{"eventName": "gen_ai.user.message", "body": {{"stringValue": {text}}}}},
                {{"attributes": [{{"key": "event.name", "value": {{"stringValue": "api_request"}}}},
                                {{"key": "prompt", "value": {{"stringValue": {text}}}}}],
                  "body": {{"stringValue": {text}}}}}]}}]}}]}}"#
        ),
    );
    for event in [
        format!(r#"{{"agent_id": "support-bot", "prompt": {text}, "answer": {text}}}"#),
        format!(
            r#"{{"agent_id": "support-bot", "occurred_at": "2026-01-01T00:00:00Z", "conversation_id": "c-2",
                    "tools_called": [{{"name": "pay", "arguments": {text}, "result": {{"text": {text}}}}}]}}"#
        ),
        format!(r#"{{"resourceSpans": {{"text": {text}}}}}"#),
        format!(
            r#"{{"id": "o", "traceId": "t", "type": "GENERATION", "startTime": "2026-01-01T00:00:00Z",
                    "input": {text}, "output": {{"content": {text}}}}}"#
        ),
        format!(r#"["{}"]"#, said.repeat(20)),
    ] {
        ingest(&db, &event);
    }
    assert_eq!(
        db.lines("SELECT public.holding('4111')"),
        Vec::<String>::new()
    );
    assert_eq!(
        db.lines("SELECT public.holding('support-bot')").len(),
        db.lines("SELECT DISTINCT public.holding('support-bot')")
            .len(),
        "the search finds what is there"
    );
    assert!(!db.lines("SELECT public.holding('c-1')").is_empty());
}
