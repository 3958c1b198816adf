//! One leader at a time, by an advisory lock of the session.
//!
//! The lock goes with the session: when the leader stops, is killed or loses the server, the server lets go of it and
//! a follower that asks again gets it. Followers ask rather than wait in the server, where a waiting statement would
//! hold back vacuum. Two leaders at once would do no harm, for a refresh takes its agent's lock; they would only do
//! work twice.

use anyhow::Result;
use tokio_postgres::Client;

/// Key of the advisory lock: "agentmet" in ASCII. Advisory locks are each database's own.
pub const KEY: i64 = 0x6167_656e_746d_6574;

/// Becomes the leader, if there is none.
pub async fn try_lead(client: &Client) -> Result<bool> {
    Ok(client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&KEY])
        .await?
        .try_get(0)?)
}

/// The session that leads: backend process, user, address and since when.
pub async fn who_leads(client: &Client) -> Result<Option<String>> {
    let row = client
        .query_opt(
            "SELECT format('process %s, user %s, from %s', l.pid, coalesce(a.usename, '?'),
                           coalesce(host(a.client_addr), 'this machine'))
             FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
               AND (l.classid::bigint << 32) | l.objid::bigint = $1
             LIMIT 1",
            &[&KEY],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
