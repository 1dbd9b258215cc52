-- The audit trail: entries, their places in a chain, and the chain's head. Used by audit.py.

-- # audit
insert into plugyard.audit_log (id, tenant_id, at, actor, action, target, detail, request_id)
values (%(id)s, %(tenant_id)s, %(at)s, %(actor)s, %(action)s, %(target)s, %(detail)s, %(request_id)s);

-- # audit head
select sequence, encode(hash, 'hex') as hash from plugyard.audit_heads where chain = %(chain)s;

-- # audit lines
select
  l.sequence,
  '{"hash":"' || encode(l.hash, 'hex') || '",'
    || substr(coalesce(plugyard.audit_line(e, l.sequence), '{"sequence":' || l.sequence || ',"id":null}'), 2) as line
from plugyard.audit_links l left join plugyard.audit_log e on e.id = l.entry_id
where l.chain = %(chain)s and l.sequence > %(after)s
order by l.sequence
limit %(limit)s;

-- # unchained entries
select '{"hash":null,"sequence":null,"id":"' || e.id || '"}' as line
from plugyard.audit_log e
where e.tenant_id is not distinct from %(tenant_id)s
  and not exists (select from plugyard.audit_links l where l.entry_id = e.id)
order by e.id
limit %(limit)s;
