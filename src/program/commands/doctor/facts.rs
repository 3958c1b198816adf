//! What is wrong with the facts: agents that are stale or unknown, turns that count nowhere, words without a meaning,
//! tables that cannot be followed, costs that are not known.

/// What is asked.
pub const QUESTIONS: &[&str] = &[
    "SELECT 'no agent is registered, so there is no number',
            format('register an agent: what producers call it, its kind (%s) and who answers for it: '
                   'SELECT agent_metrics.register_agent(<agent_id>, <kind>, <owner>);',
                   (SELECT string_agg(k.kind, ', ' ORDER BY k.kind) FROM agent_metrics.agent_kinds k))
     WHERE EXISTS (SELECT FROM agent_metrics.agent_kinds)
       AND NOT EXISTS (SELECT FROM agent_metrics.agents)
       AND NOT EXISTS (SELECT FROM agent_kpi.unregistered_agents)",
    "SELECT format('agent %s is not registered, and its %s events are in no number', u.agent_id, u.events),
            format('say which kind it is (%s) and who answers for it: '
                   'SELECT agent_metrics.register_agent(%L, <kind>, <owner>); '
                   'or, where it is another''s name misspelt: '
                   'UPDATE agent_metrics.agent_events SET agent_id = <agent_id> WHERE agent_id = %L;',
                   (SELECT string_agg(k.kind, ', ' ORDER BY k.kind) FROM agent_metrics.agent_kinds k),
                   u.agent_id, u.agent_id)
     FROM agent_kpi.unregistered_agents u ORDER BY u.agent_id LIMIT 20",
    concat!(
        "SELECT format('agent %s is stale: %s', f.agent_id, coalesce(f.why, 'last refreshed ' ||
                   coalesce(to_char(f.refreshed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), 'never'))),
            'agent-metrics refresh '
            || ",
        shell_word!("f.agent_id"),
        "
     FROM agent_kpi.freshness f WHERE f.is_stale ORDER BY f.agent_id"
    ),
    concat!(
        "SELECT format('agent %s has %s turns between %s and %s and %s of them in its rollups: %s',
                   u.agent_id, u.turns, u.first_at::text, u.last_at::text, u.counted, u.reason),
            CASE WHEN u.reason LIKE '%years 1 to 9999'
                 THEN format('put the moment right: UPDATE agent_metrics.agent_events SET occurred_at = <moment> '
                             'WHERE agent_id = %L AND NOT (occurred_at >= ''0001-01-01 00:00+00'' '
                             'AND occurred_at < ''10000-01-01 00:00+00'');', u.agent_id)
                 ELSE 'count them: agent-metrics rebuild --agent '
                      || ",
        shell_word!("u.agent_id"),
        " END
     FROM agent_metrics_internal.uncounted_turns() u ORDER BY u.agent_id"
    ),
    // a day is for clocks that are a little wrong
    "SELECT format('agent %s has %s turns that are dated ahead, the last at %s: its clock is wrong, or the unit of its '
                   'time', e.agent_id, count(*), max(e.occurred_at)::text),
            format('put the moment right, and the producer''s clock: '
                   'UPDATE agent_metrics.agent_events SET occurred_at = <moment> '
                   'WHERE agent_id = %L AND occurred_at > now() + interval ''1 day'';', e.agent_id)
     FROM agent_metrics.agent_events e
     WHERE e.occurred_at > now() + interval '1 day' AND e.occurred_at < agent_metrics_internal.end_of_moments()
     GROUP BY e.agent_id ORDER BY e.agent_id LIMIT 20",
    // no guess: a label that is put in as what it is not makes wrong numbers that nobody looks for
    "SELECT format('label \"%s\" of agent %s is mapped to nothing, so %s conversations are pending',
                   u.outcome_label, u.agent_id, u.conversations),
            format('fill in true or false for each: '
                   'INSERT INTO agent_metrics.outcomes (label, is_success, is_unit, is_deflection, is_refusal, '
                   'is_escalation%s) '
                   'VALUES (%L, <the task was done>, <it is a unit of the kind''s work: %s>, <no human was needed>, '
                   '<the agent refused>, <it was handed to a human>%s);',
                   CASE k.outcome_metric WHEN 'automation_rate' THEN ', is_automation'
                                         WHEN 'qualified_lead_rate' THEN ', is_qualified_lead, is_booking'
                                         ELSE '' END,
                   u.outcome_label, k.unit_name,
                   CASE k.outcome_metric
                       WHEN 'automation_rate' THEN ', <a task was completed with no human step>'
                       WHEN 'qualified_lead_rate' THEN ', <the lead is qualified>, <a booking was made>'
                       ELSE '' END)
     FROM agent_kpi.unmapped_labels u
     JOIN agent_metrics.agents a ON a.agent_id = u.agent_id
     JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
     ORDER BY u.agent_id, u.outcome_label LIMIT 40",
    "SELECT format('%s business events of kind \"%s\"%s count for nothing: %s', u.events, u.kind,
                   CASE WHEN u.source <> '' THEN ' from table ' || u.source ELSE '' END, u.reason),
            format('say what it means: an outcome label (%s), or %s: '
                   'INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES (%L, <meaning>) '
                   'ON CONFLICT (kind) DO UPDATE SET meaning = excluded.meaning;',
                   (SELECT string_agg(o.label, ', ' ORDER BY o.label)
                    FROM (SELECT x.label FROM agent_metrics.outcomes x ORDER BY x.label LIMIT 40) o),
                   array_to_string(agent_metrics_internal.event_meanings(), ', '), u.kind)
     FROM agent_kpi.unmapped_event_kinds u ORDER BY u.kind, u.source LIMIT 40",
    "SELECT format('attached table %s cannot be followed: %s', t.source, t.problem),
            CASE WHEN t.problem LIKE '%permission denied%'
                 THEN format('let the program''s role read it: GRANT USAGE ON SCHEMA %s TO %I; '
                             'GRANT SELECT ON %s TO %I; SELECT agent_metrics.sync_%s(%L);',
                             coalesce((SELECT c.relnamespace::regnamespace::text FROM pg_class c
                                       WHERE c.oid = a.relation), '<schema>'),
                             current_user, t.source, current_user, t.feeds, t.source)
                 WHEN t.problem ~ 'a row |key is that|SQLSTATE 2'
                 THEN format('mend the row (SELECT row_key, detail FROM agent_metrics_internal.attachment_problems '
                             'names it), then: SELECT agent_metrics.sync_%s(%L);', t.feeds, t.source)
                 WHEN t.problem ~ 'lock|another table has its name'
                 THEN format('compare it: SELECT agent_metrics.sync_%s(%L);', t.feeds, t.source)
                 WHEN t.feeds = 'turns'
                 THEN format('where that is meant, or mended, attach it as it is now: '
                             'SELECT agent_metrics.detach_turns(%L); SELECT agent_metrics.attach_turns(%L, %s);',
                             t.source, t.source,
                             concat_ws(', ', 'preset => ' || quote_literal(a.preset),
                                       'key => ' || quote_literal(a.columns ->> 'key'),
                                       'watermark => ' || quote_literal(a.watermark),
                                       CASE WHEN a.preset IS NULL
                                            THEN format('columns => %L, fixed => %L, delete_gone => %s',
                                                        a.columns - ARRAY['key', 'watermark'], a.fixed,
                                                        a.delete_gone) END))
                 ELSE format('where that is meant, or mended, attach it as it is now: '
                             'SELECT agent_metrics.detach_business_events(%L, keep_events => false); '
                             'SELECT agent_metrics.attach_business_events(%L, %s);', t.source, t.source,
                             concat_ws(', ', (SELECT string_agg(format('%s => %L', c.key, c.value), ', ' ORDER BY c.key)
                                              FROM jsonb_each_text(a.columns) AS c (key, value)),
                                       'fixed_kind => ' || quote_literal(a.fixed_kind),
                                       'id_prefix => ' || quote_literal(nullif(a.id_prefix, '')))) END
     FROM agent_kpi.attached_tables t
     JOIN agent_metrics_internal.attached_tables a ON a.source = t.source
     WHERE t.problem IS NOT NULL ORDER BY t.source",
    "SELECT format('subscription %s, which brings %s, stands still: %s', f.subscription, f.tables, f.problem),
            format('this server''s log says why: a row that was refused, or a server that does not answer '
                   '(docs/managed-services.md says how a row is passed over). Mend that, and where it is disabled: '
                   'ALTER SUBSCRIPTION %I ENABLE;', f.subscription)
     FROM agent_kpi.feeds f WHERE f.problem IS NOT NULL ORDER BY f.subscription",
    // of all the time that there are turns: whoever mends what is shown has mended all
    "SELECT format('%s turns of agent %s by model %s have no cost: %s', u.turns, u.agent_id,
                   coalesce(u.model, 'unknown'), u.reason),
            CASE WHEN u.model IS NULL
                 THEN format('say whose tokens they were: UPDATE agent_metrics.agent_events SET model = <model> '
                             'WHERE agent_id = %L AND model IS NULL AND cost_usd IS NULL '
                             'AND coalesce(token_usage_input, token_usage_output) IS NOT NULL; ', u.agent_id)
                 WHEN u.reason LIKE 'several providers%'
                 THEN format('say whose model it was: UPDATE agent_metrics.agent_events SET provider = <provider> '
                             'WHERE agent_id = %L AND model = %L AND provider IS NULL AND cost_usd IS NULL; ',
                             u.agent_id, u.model)
                 WHEN u.reason LIKE '%has no price%'
                 THEN format('enter its prices, in US dollars for a million tokens, then reprice (dry_run => true '
                             'shows it first): INSERT INTO agent_metrics.token_prices '
                             '(provider, model, usage_type, usd_per_million) '
                             'VALUES (%s, %L, ''input'', <usd>), (%s, %L, ''output'', <usd>); ',
                             coalesce(quote_literal(u.provider), '<provider>'), u.model,
                             coalesce(quote_literal(u.provider), '<provider>'), u.model)
                 ELSE 'see that agent_metrics.token_prices has each kind of token at their time, then reprice '
                      '(dry_run => true shows it first): ' END
            || format('SELECT * FROM agent_metrics.reprice(%L, %L, ''infinity'', dry_run => false);',
                      u.agent_id, u.first_seen)
     FROM agent_metrics_internal.kpi_unpriced_models('-infinity', 'infinity') u
     ORDER BY u.agent_id, u.model LIMIT 40",
    "SELECT format('%s pieces of deliveries are in quarantine: %s', sum(q.events), q.reason),
            format('add what is missing as JSON, such as ''{\"conversation_id\": \"c-1\"}'', and try again: '
                   'UPDATE agent_metrics.quarantined_events SET event = coalesce(event, ''{}'') || <json> '
                   'WHERE agent_metrics_internal.reason_class(reason) = %L; '
                   'SELECT * FROM agent_metrics.retry_quarantined(%L);', q.reason, q.reason)
     FROM agent_kpi.quarantine q GROUP BY q.reason ORDER BY q.reason",
    "SELECT format('%s calls of models with %s tokens are no turns, for more of their traces has not come: %s',
                   sum(t.turns), sum(t.tokens), t.missing),
            'if it is there under another name, say which: INSERT INTO agent_metrics.span_vocabulary '
            '(attribute, meaning) VALUES (<attribute>, <meaning>); SELECT * FROM agent_metrics.retry_quarantined();'
     FROM agent_kpi.incomplete_traces t WHERE t.waiting_since < now() - interval '1 hour'
     GROUP BY t.missing ORDER BY t.missing",
    "SELECT format('infrastructure costs of %s usd name agent %s, which is not registered, so nobody bears them',
                   sum(c.amount_usd), c.agent_id),
            format('say whose they are, or NULL for all AI agents together: '
                   'UPDATE agent_metrics.infrastructure_costs SET agent_id = <agent_id> WHERE agent_id = %L;',
                   c.agent_id)
     FROM agent_metrics.infrastructure_costs c
     WHERE c.agent_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id = c.agent_id)
     GROUP BY c.agent_id ORDER BY c.agent_id LIMIT 20",
    "SELECT format('%s lines of bills by %s were refused, so that the bills lack them: %s', count(*), r.source,
                   r.reason),
            format('mend them in the report and import it again (agent_metrics.refused_bills has them); or go '
                   'without them: '
                   'DELETE FROM agent_metrics.refused_bills WHERE source = %L AND reason = %L;', r.source, r.reason)
     FROM agent_metrics.refused_bills r
     GROUP BY r.source, r.reason ORDER BY r.source, r.reason LIMIT 20",
    "SELECT format('a bill by %s has more pages, which were not imported%s', o.source,
                   CASE o.account WHEN '' THEN '' ELSE format(' (account %s)', o.account) END),
            format('import the next page, or all pages as one list; or go without them: '
                   'DELETE FROM agent_metrics_internal.open_reports WHERE source = %L AND account = %L;',
                   o.source, o.account)
     FROM agent_metrics_internal.open_reports o ORDER BY o.source, o.account LIMIT 20",
];
