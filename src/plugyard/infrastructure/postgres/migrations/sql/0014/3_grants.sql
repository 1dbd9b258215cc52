grant execute on function plugyard.lives(text) to :service;
