"""Networks: functions of token inputs that know nothing of energies."""
