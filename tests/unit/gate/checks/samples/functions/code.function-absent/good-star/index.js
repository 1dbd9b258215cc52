export * from "./other.js";
