-- What a worker gives back ------------------------------------------------------------------------------------------

-- Lets others take what a worker has taken and never began: its executions wait as before, so that nobody takes the
-- worker for dead because of them. Older code gives jobs back by themselves, and those count as before.
create function plugyard.give_back_unbegun(jobs bigint[], worker bigint) returns void
language plpgsql security definer set search_path = plugyard, pg_temp
as $$
declare
  before text := plugyard.start_crossing();
begin
  with given as (
    update plugyard_queue.procrastinate_jobs j set status = 'todo', worker_id = null
    where j.id = any (jobs) and j.status = 'doing' and j.worker_id is not distinct from worker
    returning (j.args ->> 'execution')::uuid as execution, (j.args ->> 'turn')::integer as turn)
  update plugyard.queued_executions q set state = 'queued'
  from given g where q.id = g.execution and q.turn = g.turn and q.state = 'running';
  perform plugyard.stop_crossing(before);
end $$;
revoke execute on function plugyard.give_back_unbegun(bigint[], bigint) from public;
