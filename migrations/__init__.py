"""Steps from one schema of the store to the next. Tables change, stored events never; views are folded anew."""
