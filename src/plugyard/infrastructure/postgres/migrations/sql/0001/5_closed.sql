-- Nobody but the owner and whom the grants name runs what is here; new functions would be everybody's by default.
revoke all on schema plugyard from public;
revoke execute on all functions in schema plugyard from public;
revoke execute on all procedures in schema plugyard from public;
