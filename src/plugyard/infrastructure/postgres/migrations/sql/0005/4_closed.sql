-- New functions would be everybody's by default.
revoke execute on all functions in schema plugyard from public;
