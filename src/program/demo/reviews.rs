//! The demo's reviews: of the last four weeks a sample is drawn for each agent, and a quality team says of each
//! conversation what it found. What it finds is decided by a hash of the conversation, so it is the same in every run.

use crate::say;
use anyhow::Result;
use tokio_postgres::Client;

const REVIEWS: &str = "
    INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, sample_id, outcome_label, answer_verdict,
                                       is_in_scope, is_refused, is_escalated, should_escalate)
    SELECT s.agent_id, s.conversation_id, 'Quality Team', s.sample_id,
           CASE WHEN c.is_success AND s.dice % 100 < 4 THEN 'failure' ELSE c.outcome_label END,
           CASE WHEN s.dice % 1000 < 8 THEN 'unsupported'
                WHEN s.dice % 1000 < 10 THEN 'contradicted'
                ELSE 'supported' END,
           s.dice / 1000 % 100 >= 5, s.dice / 1000 % 100 < 5 AND s.dice / 100000 % 10 > 0,
           c.is_escalation, CASE WHEN c.is_escalation THEN s.dice / 7 % 100 >= 5 ELSE s.dice / 7 % 1000 < 4 END
    FROM (SELECT i.*, ('x' || left(md5(i.conversation_id || ' reviewed'), 7))::bit(28)::integer AS dice
          FROM agent_metrics_internal.review_items i) s
    JOIN agent_metrics.conversations c ON c.agent_id = s.agent_id AND c.conversation_id = s.conversation_id
    WHERE c.has_outcome";

/// Draws the samples and records what the team found. After a refresh; another one follows.
pub async fn review(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "SELECT agent_metrics.draw_review_sample(
                 a.agent_id, 'week', (now() AT TIME ZONE agent_metrics_internal.report_time_zone())::date - 7 * n.week)
             FROM agent_metrics.agents a CROSS JOIN generate_series(1, 4) AS n (week) WHERE a.actor = 'ai'",
        )
        .await?;
    let found = client.execute(REVIEWS, &[]).await?;
    say!("{found} conversations of the last four weeks are reviewed");
    Ok(())
}
