print("xenpr-lab")
