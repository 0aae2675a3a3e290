print("xenpr")
