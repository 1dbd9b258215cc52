grant execute on function plugyard.give_back_unbegun(bigint[], bigint) to :service;
