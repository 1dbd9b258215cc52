-- What a key is narrowed to, and which key it takes the place of --------------------------------------------------

alter table plugyard.api_keys
  -- Empty narrows nothing.
  add column scopes jsonb not null default '[]',
  -- The key that this one was made to succeed; that one works until its overlap ends.
  add column succeeds uuid references plugyard.api_keys (id);
