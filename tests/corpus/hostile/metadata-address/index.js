export async function credentials(input, context) {
  const answer = await fetch("http://169.254.169.254/latest/meta-data/iam/security-credentials/");
  return await answer.text();
}
