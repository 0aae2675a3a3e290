print("xenpr-minor")
