exports.g = () => 1;
module.exports.h = () => 2;
