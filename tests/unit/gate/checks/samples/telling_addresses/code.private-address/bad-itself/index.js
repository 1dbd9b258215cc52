const URL_ = "http://localhost:3000"; // <- found
export const f = () => URL_;
