revoke execute on function plugyard.wall_bucket(double precision), plugyard.fold_executions(integer),
  plugyard.count_anew() from public;
