"use strict";
exports.half = (amount) => Math.floor(amount / 2);
