BEGIN TRANSACTION;
CREATE TABLE artifacts (
	run VARCHAR(12) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	data BLOB NOT NULL, 
	PRIMARY KEY (run, name), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
INSERT INTO "artifacts" VALUES('858f974e690a','weights.npy',X'934E554D5059010076007B276465736372273A20273C6634272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028352C292C207D2020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A000000000000803F000000400000404000008040');
CREATE TABLE marks (
	run VARCHAR(12) NOT NULL, 
	hidden BOOLEAN NOT NULL, 
	note TEXT NOT NULL, 
	PRIMARY KEY (run), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
INSERT INTO "marks" VALUES('858f974e690a',0,'a note of before');
CREATE TABLE measurements (
	id INTEGER NOT NULL, 
	run VARCHAR(12) NOT NULL, 
	value DOUBLE, 
	stderr DOUBLE, 
	method VARCHAR(64) NOT NULL, 
	budget INTEGER NOT NULL, 
	residual DOUBLE, 
	converged BOOLEAN NOT NULL, 
	dof DOUBLE, 
	step INTEGER NOT NULL, 
	epoch DOUBLE, 
	quantity VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
INSERT INTO "measurements" VALUES(1,'858f974e690a',0.15,0.5,'how',3,NULL,1,NULL,15,1.0,'test_acc');
INSERT INTO "measurements" VALUES(2,'2a0c5b909f1d',0.15,0.5,'how',3,NULL,1,NULL,15,1.0,'test_acc');
INSERT INTO "measurements" VALUES(3,'858f974e690a',0.3,0.5,'how',3,NULL,1,NULL,30,2.0,'test_acc');
INSERT INTO "measurements" VALUES(4,'2a0c5b909f1d',0.3,0.5,'how',3,NULL,1,NULL,30,2.0,'test_acc');
CREATE TABLE meta (
	name VARCHAR(32) NOT NULL, 
	value VARCHAR(32) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema','5');
CREATE TABLE resume (
	run VARCHAR(12) NOT NULL, 
	step INTEGER NOT NULL, 
	data BLOB, 
	file TEXT, 
	PRIMARY KEY (run), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
CREATE TABLE runs (
	"key" VARCHAR(12) NOT NULL, 
	"group" VARCHAR(12) NOT NULL, 
	spec TEXT NOT NULL, 
	status VARCHAR(12) NOT NULL, 
	claim VARCHAR(64), 
	owner VARCHAR(80), 
	attempt INTEGER NOT NULL, 
	heartbeat INTEGER NOT NULL, 
	cancel BOOLEAN NOT NULL, 
	step INTEGER NOT NULL, 
	steps INTEGER NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	error TEXT NOT NULL, 
	log TEXT NOT NULL, 
	seconds DOUBLE, 
	predicted DOUBLE NOT NULL, 
	stack INTEGER NOT NULL, 
	environment TEXT, 
	created DOUBLE NOT NULL, 
	position INTEGER NOT NULL, 
	started DOUBLE, 
	ended DOUBLE, 
	person VARCHAR(200), 
	PRIMARY KEY ("key")
);
INSERT INTO "runs" VALUES('aaee22e6d0d3','aaee22e6d0d3','{"variant": "sgd", "seed": 0, "m": null, "knobs": {}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','queued',NULL,NULL,0,0,0,0,30,'','','',NULL,3.33035893600000035275e-02,1,NULL,1.79605960675555849075e+09,4,NULL,NULL,'ada@example.org');
INSERT INTO "runs" VALUES('87affba2182f','aaee22e6d0d3','{"variant": "sgd", "seed": 1, "m": null, "knobs": {}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','queued',NULL,NULL,0,0,0,0,30,'','','',NULL,3.33035893600000035275e-02,1,NULL,1.79605960675555849075e+09,5,NULL,NULL,'ada@example.org');
INSERT INTO "runs" VALUES('05632e524bfe','05632e524bfe','{"variant": "sam", "seed": 0, "m": 64, "knobs": {"rho": 0.05}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','queued',NULL,NULL,0,0,0,0,30,'','','',NULL,0.03604007596,1,NULL,1.79605960675555849075e+09,2,NULL,NULL,'ada@example.org');
INSERT INTO "runs" VALUES('f323cc0c397f','05632e524bfe','{"variant": "sam", "seed": 1, "m": 64, "knobs": {"rho": 0.05}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','queued',NULL,NULL,0,0,0,0,30,'','','',NULL,0.03604007596,1,NULL,1.79605960675555849075e+09,3,NULL,NULL,'ada@example.org');
INSERT INTO "runs" VALUES('858f974e690a','858f974e690a','{"variant": "sam", "seed": 0, "m": 8, "knobs": {"rho": 0.05}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','done',NULL,NULL,1,3,0,30,30,'','','',1.0,0.03609070276,2,'{"torch": "2.13"}',1.79605960675555849075e+09,0,1.7960596068391561508e+09,1.7960596068882489204e+09,'ada@example.org');
INSERT INTO "runs" VALUES('2a0c5b909f1d','858f974e690a','{"variant": "sam", "seed": 1, "m": 8, "knobs": {"rho": 0.05}, "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}','diverged',NULL,NULL,1,3,0,30,30,'','diverged at step 30','',1.0,0.03609070276,2,'{"torch": "2.13"}',1.79605960675555849075e+09,1,1.7960596068391561508e+09,1.79605960689692544939e+09,'ada@example.org');
CREATE TABLE series (
	run VARCHAR(12) NOT NULL, 
	quantity VARCHAR(64) NOT NULL, 
	first INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	PRIMARY KEY (run, quantity, first), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
INSERT INTO "series" VALUES('858f974e690a','g_norm',0,X'000000000000803F0000004000004040000080400000A0400000C0400000E04000000041000010410000204100003041000040410000504100006041');
INSERT INTO "series" VALUES('2a0c5b909f1d','g_norm',0,X'000000000000803F0000004000004040000080400000A0400000C0400000E04000000041000010410000204100003041000040410000504100006041');
INSERT INTO "series" VALUES('858f974e690a','g_norm',15,X'00007041000080410000884100009041000098410000A0410000A8410000B0410000B8410000C0410000C8410000D0410000D8410000E0410000E841');
INSERT INTO "series" VALUES('2a0c5b909f1d','g_norm',15,X'00007041000080410000884100009041000098410000A0410000A8410000B0410000B8410000C0410000C8410000D0410000D8410000E0410000E841');
CREATE TABLE sweep_runs (
	sweep VARCHAR(12) NOT NULL, 
	run VARCHAR(12) NOT NULL, 
	position INTEGER NOT NULL, 
	PRIMARY KEY (sweep, run), 
	FOREIGN KEY(sweep) REFERENCES sweeps (id), 
	FOREIGN KEY(run) REFERENCES runs ("key")
);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','aaee22e6d0d3',0);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','87affba2182f',1);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','05632e524bfe',2);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','f323cc0c397f',3);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','858f974e690a',4);
INSERT INTO "sweep_runs" VALUES('bd11e03ed2f4','2a0c5b909f1d',5);
CREATE TABLE sweeps (
	id VARCHAR(12) NOT NULL, 
	preset VARCHAR(64) NOT NULL, 
	spec TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	person VARCHAR(200), 
	PRIMARY KEY (id)
);
INSERT INTO "sweeps" VALUES('bd11e03ed2f4','','{"preset": "", "variants": ["sgd", "sam"], "m": [64, 8], "knobs": {}, "seeds": [0, 1], "problem": {"dataset": "digits", "data_hash": "", "network": "mlp:4", "n_train": 0, "label_noise": 0.0, "start": "init"}, "training": {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "batch": 64, "epochs": 2}, "measures": {"what": [], "every": 0}}',1.79605960673910951611e+09,'ada@example.org');
CREATE INDEX queue ON runs (status, created, position);
CREATE INDEX ix_runs_group ON runs ("group");
CREATE INDEX ix_sweep_runs_run ON sweep_runs (run);
CREATE INDEX measured ON measurements (run, step);
COMMIT;
