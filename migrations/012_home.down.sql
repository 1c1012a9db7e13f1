-- Takes back 012: what stands at home is told by the broker anew; what was done there is forgotten.

DROP TABLE actions, entities;
