//! What is wrong with the install: settings, shipped rows, triggers, partitions, jobs.

/// What keeps everything else from being looked at: a zone or a cadence that nobody can compute with. They are refused
/// where they are written, so they come from elsewhere: a restored dump, other time zone data, triggers that were off.
pub const TIME: &[&str] = &[
    "SELECT format('setting report_time_zone is \"%s\", which the server''s time zone data does not know: '
                   'no day can be told', s.value),
            'name a zone such as UTC or Europe/Berlin: '
            'UPDATE agent_metrics.settings SET value = <zone> WHERE name = ''report_time_zone'';'
     FROM agent_metrics.settings s
     WHERE s.name = 'report_time_zone' AND NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = s.value)",
    "SELECT format('agent %s cannot be scheduled, and so nobody is: %s', a.agent_id, p.problem),
            format('say when and in which zone it is refreshed, such as ''*/5 * * * *'' and ''Europe/Berlin'': '
                   'UPDATE agent_metrics.agents SET cadence = <cadence>, time_zone = <zone> WHERE agent_id = %L;',
                   a.agent_id)
     FROM agent_metrics.agents a
     JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
     CROSS JOIN LATERAL agent_metrics_internal.cadence_problem(coalesce(a.cadence, k.cadence), a.time_zone)
         AS p (problem)
     WHERE p.problem IS NOT NULL
     ORDER BY a.agent_id LIMIT 20",
];

/// The rest.
pub const QUESTIONS: &[&str] = &[
    "SELECT format('rows that ship with agent_metrics are missing, '
                   'as after a dump without rows was restored: none in %s',
                   string_agg(m.relation, ', ' ORDER BY m.relation)
                   || '; the owner of the tables puts them back'),
            'agent-metrics setup'
     FROM agent_metrics_internal.missing_rows() m HAVING count(*) > 0",
    "SELECT format('setting hot_days is \"%s\", so no month is ever archived', s.value),
            'say for how many days raw events stay, such as 90: '
            'UPDATE agent_metrics.settings SET value = <days> WHERE name = ''hot_days'';'
     FROM agent_metrics.settings s WHERE s.name = 'hot_days' AND s.value !~ '^[1-9][0-9]{0,5}$'
     UNION ALL
     SELECT format('nothing reads setting \"%s\"', s.name),
            format('if it is misspelt, write the right one; this one holds nothing: '
                   'DELETE FROM agent_metrics.settings WHERE name = %L;', s.name)
     FROM agent_metrics.settings s
     WHERE s.name NOT IN ('report_time_zone', 'hot_days', 'page_url', 'span_days', 'span_attributes')
       AND s.name !~ '^[a-z0-9_]+\\.'",
    "SELECT format('trigger %s of table %s %s, so rows that come are not checked, stamped or logged as they should be',
                   b.trigger_name, b.relation, b.problem),
            'put it right, and count what came meanwhile: agent-metrics setup; agent-metrics rebuild'
     FROM agent_metrics_internal.broken_triggers() b ORDER BY b.relation, b.trigger_name LIMIT 20",
    "SELECT format('%s of %s stands on table %s, which can neither be archived, '
                   'split nor dropped while it does', b.object, b.owner, b.partition),
            format('have it read agent_metrics.agent_events, which holds the same turns, or %s', b.cure)
     FROM agent_metrics_internal.partition_blockers() b
     ORDER BY b.partition, b.object LIMIT 20",
    // two months of the three that are made ahead: a scheduler that is late by some days is no fault
    "SELECT format('the partition of %s is missing, so its turns would go to an outer one and have to be moved',
                   to_char(m.month, 'YYYY-MM')),
            'a scheduler makes months ahead; at once: SELECT agent_metrics.ensure_partitions();'
     FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month' AS month
           FROM generate_series(0, 2) AS n) m
     WHERE NOT EXISTS (SELECT FROM agent_metrics_internal.present_partitions() p
                       WHERE p.from_time <= m.month AT TIME ZONE 'UTC' AND p.to_time > m.month AT TIME ZONE 'UTC'
                         AND (p.to_time < 'infinity' OR p.partition <> 'agent_events_after'))
     ORDER BY m.month LIMIT 1",
    concat!(
        "SELECT format('job %s fails since %s, %s times: %s',
                   concat_ws(' of ', p.job, nullif(p.subject, '')),
                   to_char(p.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'),
                   p.attempts, p.problem),
            CASE WHEN p.problem ~ 'lock|deadlock'
                 THEN 'end whoever holds the lock, if he is not at work (SELECT pid, usename, state, query '
                      'FROM pg_stat_activity WHERE xact_start < now() - interval ''10 seconds'' shows him): '
                      'SELECT pg_terminate_backend(<pid>); '
                 ELSE 'mend what it says; it is tried again by itself, or at once: ' END
            || CASE WHEN p.job = 'refresh'
                    THEN 'agent-metrics refresh '
                         || ",
        shell_word!("p.subject"),
        "
                    ELSE 'agent-metrics once' END
     FROM agent_metrics_internal.job_problems p ORDER BY p.job, p.subject"
    ),
];
