const KINDS = ["coal mine", "data mining"];
export const f = () => KINDS;
