-- What a key is narrowed to, and which key it takes the place of --------------------------------------------------

alter table plugyard.api_keys
  -- Empty narrows nothing.
  add column scopes jsonb not null default '[]',
  -- The key that this one was made to succeed; that one works until its overlap ends.
  -- A tenant that is erased loses its keys in pieces, whose order nobody knows.
  add column succeeds uuid references plugyard.api_keys (id) on delete set null;

create index api_keys_by_predecessor on plugyard.api_keys (succeeds) where succeeds is not null;
