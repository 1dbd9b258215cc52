const notes = new Map();

export async function listNotes(request) {
  return { status: 200, body: [...notes.values()] };
}

export async function addNote(request) {
  const id = crypto.randomUUID();
  notes.set(id, { id, text: String(request?.body?.text ?? "") });
  return { status: 201, body: notes.get(id) };
}
