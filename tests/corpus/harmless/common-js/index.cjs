"use strict";
const { half } = require("./numbers.cjs");

exports.split = function split(input) {
  return [half(input.amount), input.amount - half(input.amount)];
};
